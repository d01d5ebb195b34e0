package blobstore

import (
	"encoding/binary"
	"time"

	"go.etcd.io/bbolt"
)

// A pass is one scrub of a block from its first piece to its last.
type pass struct {
	checked time.Time // when the last whole one began, or the block came in; zero: never
	began   time.Time // when the one under way did; zero: none is
	next    int       // the piece at which it goes on
}

// begin starts a pass.
func (p pass) begin() pass { return pass{checked: p.checked, began: now()} }

// end completes it. Every piece was checked since it began, not since it ended.
func (p pass) end() pass { return pass{checked: p.began} }

// now is in whole seconds, as the index has it.
func now() time.Time { return time.Unix(time.Now().Unix(), 0) }

// encode is two i64 of Unix seconds, 0 for none, and a u32.
func (p pass) encode() []byte {
	b := make([]byte, 0, 20)
	for _, t := range []time.Time{p.checked, p.began} {
		var sec int64
		if !t.IsZero() {
			sec = t.Unix()
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(sec))
	}
	return binary.LittleEndian.AppendUint32(b, uint32(p.next))
}

// parsePass reads what encode wrote. What cannot be read is a block that was never
// scrubbed: nothing is lost by that. A time in the future was noted by another
// clock, or ours is behind: it counts as now.
func parsePass(b []byte) (p pass) {
	if len(b) != 20 {
		return pass{}
	}
	for i, t := range []*time.Time{&p.checked, &p.began} {
		sec := min(int64(binary.LittleEndian.Uint64(b[8*i:])), now().Unix())
		if sec > 0 {
			*t = time.Unix(sec, 0)
		}
	}
	p.next = int(binary.LittleEndian.Uint32(b[16:]) & (1<<20 - 1))
	return p
}

// Rebuilt is when the index was last found missing or damaged and made anew
// from the blocks, zero if never. All notes from before are lost, so nobody
// knows any more why those blocks were kept.
func (s *Store) Rebuilt() time.Time {
	var at time.Time
	err := s.index.view(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(metaBucket).Get(rebuiltKey); len(v) == 8 {
			at = time.Unix(int64(binary.LittleEndian.Uint64(v)), 0)
		}
		return nil
	})
	if err != nil {
		s.log.Error("index cannot be read", "err", err)
	}
	return at
}

// markRebuilt remembers that the notes were lost.
func (ix *index) markRebuilt() error {
	return ix.update(func(tx *bbolt.Tx) error {
		return tx.Bucket(metaBucket).Put(rebuiltKey, binary.LittleEndian.AppendUint64(nil, uint64(now().Unix())))
	})
}

func (b *Block) savePass(p pass) error {
	err := b.s.index.update(func(tx *bbolt.Tx) error {
		if tx.Bucket(blocksBucket).Get(b.id[:]) == nil {
			return b.errGone()
		}
		return tx.Bucket(scrubsBucket).Put(b.id[:], p.encode())
	})
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pass = p
	return nil
}

// Checked is when every piece that is held was last known to be good on the
// disk: when the last whole scrub began, or the block came in. Zero if neither
// is known.
func (b *Block) Checked() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pass.checked
}
