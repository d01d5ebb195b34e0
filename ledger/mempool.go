package ledger

import "fmt"

// Mempool checks transactions that wait for a height: against the state, and
// against those that wait already, so that nobody can fill it with transactions
// of which only one can succeed. It applies them, in the order they come, to a
// next height that is thrown away.
//
// The zero Mempool is ready. It is not safe for concurrent use.
type Mempool struct {
	height  int64
	writes  map[string][]byte // what those that wait changed in the state of height
	net     network
	meta    meta
	sets    map[uint64][]Validator
	waiting map[PublicKey]int // transactions of each sender
}

// MaxWaiting is how many transactions of one sender may wait for a height: a
// flood of one key leaves room for all others, and takes no more than a sixteenth
// of a height.
const MaxWaiting = 16

// Check returns nil if a transaction can be expected to succeed at the height
// after s, and counts it as waiting from then on; otherwise why it is refused, as
// Apply would. s is only read. When its height moves, all that waited is
// forgotten: check what still waits again, in order.
func (m *Mempool) Check(s *State, raw []byte) error {
	if m.writes == nil || m.height != s.meta.Height {
		*m = Mempool{
			height: s.meta.Height, writes: make(map[string][]byte), net: s.net, meta: s.meta,
			sets: make(map[uint64][]Validator), waiting: make(map[PublicKey]int),
		}
		m.meta.Height++
	}
	tx, err := ParseTx(raw)
	if err != nil {
		return err
	}
	if m.waiting[tx.Sender] >= MaxWaiting {
		return fmt.Errorf("%w: %d of %s", ErrWaiting, MaxWaiting, tx.Sender)
	}
	scratch := &State{kv: overlay{s.kv, m.writes}, net: m.net, meta: m.meta, sets: m.sets}
	w, err := scratch.writer()
	if err != nil {
		return err
	}
	if err := w.apply(tx); err != nil {
		if Code(err) == CodeOther {
			m.writes = nil // it may have written a part
		}
		return err
	}
	m.net, m.meta = scratch.net, scratch.meta
	m.waiting[tx.Sender]++
	return nil
}

// overlay is a KV whose writes stay in memory.
type overlay struct {
	base   KV
	writes map[string][]byte
}

func (o overlay) Get(key []byte) []byte {
	if v, ok := o.writes[string(key)]; ok {
		return v
	}
	return o.base.Get(key)
}

func (o overlay) Put(key, value []byte) error {
	o.writes[string(key)] = value
	return nil
}
