package chain

import (
	"context"
	"fmt"
	"iter"
	"time"

	"granary/ledger"
)

// maxUpdate is how many entries one Update has at most.
const maxUpdate = 512

// Update is how the ledger went on.
type Update struct {
	Height  int64     // of the last block that is applied
	Time    time.Time // of that block: see ledger.Params.Heartbeat on how old it can be
	Head    ledger.Head
	First   uint64         // log index of Entries[0]
	Entries []ledger.Entry // at most 512; the log may have more, which the next Update brings
}

// Next is where the next Update of a reader begins.
func (u Update) Next() uint64 { return u.First + uint64(len(u.Entries)) }

// View calls read with the state as the last committed height left it. It does
// not change meanwhile, and must not be used afterwards. read must not wait for
// anything: a commit can be waiting for it.
func (c *Chain) View(read func(*ledger.State)) error {
	return view(c.db, func(s *ledger.State) error { read(s); return nil })
}

// Updates yields all entries from number size on, in order, and then how the
// ledger goes on, until ctx ends or the node does: that error is the last thing
// yielded. There is an Update for every height, also one without entries; who
// reads slowly gets several heights in one. Whoever remembers Update.Next can
// stop at any time, or be killed, and go on from there.
func (c *Chain) Updates(ctx context.Context, size uint64) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		for height := int64(-1); ; {
			u, err := c.Wait(ctx, height, size)
			if !yield(u, err) || err != nil {
				return
			}
			height, size = u.Height, u.Next()
		}
	}
}

// Wait waits until the ledger is above height or its log has more than size
// entries, and returns those from number size on. It returns ctx's error, or the
// node's Err.
func (c *Chain) Wait(ctx context.Context, height int64, size uint64) (Update, error) {
	for {
		changed := c.commits.wait()
		u, err := c.update(size)
		if err != nil || u.Height > height || len(u.Entries) > 0 {
			return u, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Update{}, ctx.Err()
		}
	}
}

// update returns how things stand, with the entries from number first on.
func (c *Chain) update(first uint64) (Update, error) {
	u := Update{First: first}
	if err := c.Err(); err != nil {
		return u, err
	}
	err := view(c.db, func(s *ledger.State) error {
		u.Height, u.Time, u.Head = s.Height(), s.Time(), s.Head()
		for i := first; i < min(u.Head.Size, first+maxUpdate); i++ {
			e, err := s.Entry(i)
			if err != nil {
				return err
			}
			u.Entries = append(u.Entries, e)
		}
		return nil
	})
	if err != nil {
		return u, fmt.Errorf("read the log from entry %d: %w", first, err)
	}
	return u, nil
}
