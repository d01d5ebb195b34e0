package light

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"granary/erasure"
	"granary/ledger"
)

// Entry returns entry number index of the log, proven by the verified head. It
// returns ErrNotInLedger beyond that head: Update may move it.
func (c *Client) Entry(ctx context.Context, index uint64) (ledger.Entry, error) {
	entries, err := c.Entries(ctx, index, 1)
	if err != nil {
		return ledger.Entry{}, err
	}
	return entries[0], nil
}

// Entries returns the entries from number from on, proven by the verified head:
// at least one and at most max, or ErrNotInLedger if the head has none there.
func (c *Client) Entries(ctx context.Context, from uint64, max int) ([]ledger.Entry, error) {
	h, _ := c.Head()
	if from >= h.Size || max < 1 {
		return nil, fmt.Errorf("entry %d of %d: %w", from, h.Size, ErrNotInLedger)
	}
	count := min(uint64(max), MaxEntries, h.Size-from)
	var entries []ledger.Entry
	err := c.each(ctx, func(peer string) error {
		r, err := call[entriesReply](ctx, c, peer, kindEntries, entriesRequest{From: from, Count: count, Size: h.Size})
		if err != nil {
			return err
		}
		entries, err = checkEntries(r, h, from, count)
		return err
	})
	if errors.Is(err, ErrNotInLedger) {
		// The verified head says that it is there: they are behind.
		err = fmt.Errorf("%w: no provider has entry %d yet", ErrUnreachable, from)
	}
	return entries, err
}

// checkEntries checks that a reply holds entries from number from on.
func checkEntries(r entriesReply, h ledger.Head, from, count uint64) ([]ledger.Entry, error) {
	if len(r.Entries) < 1 || uint64(len(r.Entries)) > count {
		return nil, fmt.Errorf("%d entries, want 1 to %d", len(r.Entries), count)
	}
	var entries []ledger.Entry
	for i, p := range r.Entries {
		if p.Index != from+uint64(i) {
			return nil, fmt.Errorf("entry %d for %d", p.Index, from+uint64(i))
		}
		e, err := p.entry(h)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Found is what the ledger has about a block. All is proven but what is called a
// hint.
type Found struct {
	ID           erasure.ID
	Index        uint64       // log index of the announcement
	Announcement ledger.Entry // a transaction with the record

	// Status is what the entry at OutcomeIndex says; for ledger.Pending there is
	// none, and that it is still so is a hint.
	Status       ledger.Status
	OutcomeIndex uint64
	Outcome      ledger.Entry

	Power, Total int64     // hint: voting power of those who attested by now, and of all
	Until        time.Time // hint: when the keep ends, zero unless certified
}

// Record is what the publisher signed.
func (f Found) Record() ledger.Record { return f.Announcement.Tx.Record }

// Find returns what is known about a block: its certificate and the announcement
// that it is for, or else its latest announcement. If what providers have lies
// beyond the verified head, that is updated. It returns ErrNotInLedger if the
// newest head proves that it was never announced.
func (c *Client) Find(ctx context.Context, id erasure.ID) (Found, error) {
	for try := 0; ; try++ {
		f, err := c.find(ctx, id)
		if errors.Is(err, ErrNotInLedger) && try > 0 {
			return f, c.absent(ctx, id)
		}
		if !errors.Is(err, errAhead) && !errors.Is(err, ErrNotInLedger) {
			return f, err
		}
		// The header that commits to it comes a moment after it: the second try
		// waits for the next heartbeat at worst.
		if try == maxFinds {
			return Found{}, fmt.Errorf("%w: block %s lies beyond the verified head", ErrUnreachable, id.Short())
		}
		if _, err := c.Update(ctx); err != nil && !errors.Is(err, ErrStale) {
			return Found{}, err
		}
		if try > 0 {
			if err := pause(ctx, findPause); err != nil {
				return Found{}, err
			}
		}
	}
}

// absent returns ErrNotInLedger if the verified head proves that a block was
// never announced: that providers say so is not enough.
func (c *Client) absent(ctx context.Context, id erasure.ID) error {
	value, err := c.Value(ctx, ledger.BlockKey(id))
	if err == nil && value != nil {
		return fmt.Errorf("%w: block %s is in the ledger, and no provider has it", ErrUnreachable, id.Short())
	}
	return cmp.Or(err, fmt.Errorf("block %s: %w", id.Short(), ErrNotInLedger))
}

const (
	maxFinds  = 20
	findPause = 100 * time.Millisecond
)

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) find(ctx context.Context, id erasure.ID) (Found, error) {
	h, _ := c.Head()
	if h.Size == 0 {
		return Found{}, errAhead
	}
	var found Found
	err := c.each(ctx, func(peer string) error {
		r, err := call[findReply](ctx, c, peer, kindFind, findRequest{ID: id, Size: h.Size})
		if err != nil {
			return err
		}
		found, err = checkFound(r, h, id)
		return err
	})
	return found, err
}

// checkFound checks that what a reply has is in the log, and about the block.
func checkFound(r findReply, h ledger.Head, id erasure.ID) (Found, error) {
	f := Found{ID: id, Index: r.Announcement.Index, Status: ledger.Pending, Power: r.Power, Total: r.Total}
	var err error
	if f.Announcement, err = r.Announcement.entry(h); err != nil {
		return Found{}, err
	}
	if f.Announcement.Kind != ledger.EntryTx || f.Announcement.Tx.Kind != ledger.KindAnnounce || f.Record().ID() != id {
		return Found{}, fmt.Errorf("entry %d does not announce the block", f.Index)
	}
	if len(r.Outcome) == 0 {
		return f, nil
	}
	if len(r.Outcome) > 1 {
		return Found{}, fmt.Errorf("%d outcomes", len(r.Outcome))
	}
	f.OutcomeIndex = r.Outcome[0].Index
	if f.Outcome, err = r.Outcome[0].entry(h); err != nil {
		return Found{}, err
	}
	switch o := f.Outcome; {
	case o.Outcome.Announcement != f.Index || o.Outcome.ID != id:
		return Found{}, fmt.Errorf("entry %d is about another announcement", f.OutcomeIndex)
	case o.Kind == ledger.EntryCertified:
		f.Status = ledger.Certified
		f.Until = time.UnixMilli(r.Until).UTC()
	case o.Kind == ledger.EntryExpired:
		f.Status = ledger.Expired
	default:
		return Found{}, fmt.Errorf("entry %d is no outcome", f.OutcomeIndex)
	}
	return f, nil
}
