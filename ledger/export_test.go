package ledger

import "errors"

// Refold makes a state from the log of another alone: genesis and entries.
func Refold(g Genesis, of *State) (*Memory, error) {
	kv := NewMemory()
	s, err := Init(kv, g)
	if err != nil {
		return nil, err
	}
	w, err := s.writer()
	if err != nil {
		return nil, err
	}
	for index := s.meta.Size; index < of.meta.Size; index++ {
		e, err := of.Entry(index)
		if err != nil {
			return nil, err
		}
		if e.Height != s.meta.Height {
			if err := s.commit(); err != nil {
				return nil, err
			}
		}
		s.meta.Height, s.meta.Millis = e.Height, e.Time.UnixMilli()
		if err := w.add(e); err != nil {
			return nil, err
		}
	}
	return kv, errors.Join(s.commit(), s.put(keyMeta(), s.meta))
}

// WithoutClock is a copy without what depends on blocks that left no entry: the
// height, the time, and deadlines.
func (m *Memory) WithoutClock() *Memory {
	s, err := Load(m.Clone())
	if err != nil {
		panic(err)
	}
	s.meta.Height, s.meta.Millis, s.meta.First, s.meta.Open = 0, 0, 0, 0
	if err := s.put(keyMeta(), s.meta); err != nil {
		panic(err)
	}
	for index := range s.meta.Size {
		var a announced
		if found, err := s.get(keyAnnounced(index), &a); err != nil {
			panic(err)
		} else if found {
			a.Deadline = 0
			if err := s.put(keyAnnounced(index), a); err != nil {
				panic(err)
			}
		}
	}
	return s.kv.(*Memory)
}

// All calls do for every key and value.
func (m *Memory) All(do func(key string, value []byte)) {
	for k, v := range m.m {
		do(k, v)
	}
}
