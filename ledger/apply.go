package ledger

import (
	"fmt"
	"time"

	"github.com/transparency-dev/merkle/compact"
)

// Applied is what a height did.
type Applied struct {
	Head    Head    // of the log now
	Results []error // for each transaction why it was refused, nil if it is in the log
	First   uint64  // log index of Entries[0]
	Entries []Entry // what the height added to the log
}

// Apply applies what the chain decided for the next height: first its time, by
// which announcements expire, then its transactions in order. Those that break a
// rule are refused, each with a reason that Code knows, and change nothing.
//
// The error is for what must not happen: a height out of order, or a KV that
// fails or is damaged. Then nothing that was written may be kept, and the State
// is of no more use: give Apply a transaction of the store, and commit it when
// Apply has succeeded.
func (s *State) Apply(height int64, t time.Time, txs [][]byte) (Applied, error) {
	if height != s.meta.Height+1 {
		return Applied{}, fmt.Errorf("apply height %d: the last was %d", height, s.meta.Height)
	}
	first := s.meta.Size
	w, err := s.nextHeight(t.UnixMilli())
	if err != nil {
		return Applied{}, err
	}
	if err := w.expire(); err != nil {
		return Applied{}, err
	}
	results := make([]error, len(txs))
	for i, raw := range txs {
		tx, err := ParseTx(raw)
		if err == nil {
			err = w.apply(tx)
		}
		results[i] = err
		if Code(results[i]) == CodeOther {
			return Applied{}, fmt.Errorf("apply transaction %d of height %d: %w", i, height, results[i])
		}
	}
	if len(w.entries) > 0 {
		if err := s.commit(); err != nil {
			return Applied{}, err
		}
	}
	if err := s.put(keyMeta(), s.meta); err != nil {
		return Applied{}, err
	}
	return Applied{Head: s.Head(), Results: results, First: first, Entries: w.entries}, nil
}

// writer adds entries to the log of a state and folds them in.
type writer struct {
	*State
	right   *compact.Range // the perfect subtrees that cover the log
	entries []Entry        // that were added
}

func (s *State) writer() (*writer, error) {
	right, err := s.rangeTo(s.meta.Size)
	return &writer{State: s, right: right}, err
}

// nextHeight moves the state on, and the announcements of the height before get
// their deadline: their own height's time is no use, since it was measured before
// the idle time that their coming ended.
func (s *State) nextHeight(millis int64) (*writer, error) {
	// The engine's time never runs backwards; if it did, nodes must agree on that too.
	s.meta.Millis = max(s.meta.Millis, min(millis, maxMillis))
	s.meta.Height++
	for index := s.meta.First; index < s.meta.Size; index++ {
		var a announced
		found, err := s.get(keyAnnounced(index), &a)
		if err != nil {
			return nil, err
		}
		if !found || a.Status != Pending {
			continue
		}
		a.Deadline = s.meta.Millis + s.net.Params.AnnounceWindow
		if err := s.put(keyAnnounced(index), a); err != nil {
			return nil, err
		}
	}
	s.meta.First = s.meta.Size
	return s.writer()
}

// expire ends the announcements whose time has come, in the order of the log: one
// with a shorter window waits for those before it, so that Open never looks back.
func (w *writer) expire() error {
	for ; w.meta.Open < w.meta.Size; w.meta.Open++ {
		var a announced
		found, err := w.get(keyAnnounced(w.meta.Open), &a)
		if err != nil {
			return err
		}
		if !found || a.Status != Pending {
			continue
		}
		if a.Deadline == 0 || w.meta.Millis < a.Deadline {
			return nil
		}
		if err := w.decide(EntryExpired, w.meta.Open, a); err != nil {
			return err
		}
	}
	return nil
}

// apply adds a transaction, and what follows from it, or says why it is refused.
// Work is spent in order of cost: size and form, which ParseTx saw, balance,
// signature.
func (w *writer) apply(tx Tx) error {
	if err := w.check(tx); err != nil {
		return err
	}
	if err := tx.Verify(w.net.Chain); err != nil {
		return err
	}
	if err := w.checkProof(tx); err != nil {
		return err
	}
	index := w.meta.Size
	if err := w.add(Entry{Kind: EntryTx, Tx: tx}); err != nil {
		return err
	}
	switch {
	case tx.Kind == KindPropose:
		return w.enact(index)
	case tx.Kind == KindVote && tx.Vote.Approve:
		return w.enact(tx.Vote.Proposal)
	}
	for _, item := range tx.Attested {
		if err := w.certify(item.Index); err != nil {
			return err
		}
	}
	return nil
}

// certify adds the certificate of an announcement if it is due: when more than
// 2/3 of the power of the set at its height attested it.
func (w *writer) certify(index uint64) error {
	var a announced
	if found, err := w.get(keyAnnounced(index), &a); err != nil || !found || a.Status != Pending {
		return err
	}
	set, err := w.set(a.Set)
	if err != nil || a.Power*3 <= Power(set)*2 {
		return err
	}
	return w.decide(EntryCertified, index, a)
}

// decide adds the outcome of a pending announcement.
func (w *writer) decide(kind EntryKind, index uint64, a announced) error {
	set, err := w.set(a.Set)
	if err != nil {
		return err
	}
	return w.add(Entry{Kind: kind, Outcome: Outcome{Announcement: index, ID: a.ID, Power: a.Power, Total: Power(set)}})
}

// add stamps an entry, appends it to the log and folds it in.
func (w *writer) add(e Entry) error {
	e.Height, e.Time = w.meta.Height, fromMillis(w.meta.Millis)
	index := w.meta.Size
	if err := w.appendLeaf(w.right, e.Encode()); err != nil {
		return err
	}
	w.entries = append(w.entries, e)
	return w.fold(index, e)
}
