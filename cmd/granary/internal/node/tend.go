package node

import (
	"context"
	"errors"
	"time"

	"granary/blobstore"
	"granary/erasure"
)

const (
	// scrubRate bounds what the scheduled scrub reads per second: 50 TB in a
	// month, and little beside what a disk can do.
	scrubRate = 20_000_000

	// tendEvery is how often damage is tried to be repaired again, and how long
	// the next scrub is waited for at a time.
	tendEvery = time.Hour
)

// tend keeps what is stored in order until ctx ends: it repairs what is
// quarantined, and scrubs every block once in cfg.ScrubEvery.
func (n *Node) tend(ctx context.Context) {
	var mended time.Time
	s := scrub{
		Shelf: n.Shelf, n: n, opt: ScrubOptions{Repair: true, Patience: custodyPatience}, pace: pacer(scrubRate),
		diary: n.diary("node"),
	}
	keep := func(err error) {
		if err != nil {
			n.log.Error("what a scrub found is not kept", "err", err)
		}
	}
	defer func() { keep(s.diary.add()) }()
	for ctx.Err() == nil {
		if time.Since(mended) > tendEvery {
			mended = time.Now()
			n.mend(ctx, func(r ScrubResult) { keep(s.diary.note(r)) })
		}
		b, due := n.nextScrub()
		if wait := time.Until(due); b == nil || wait > 0 {
			if b == nil {
				wait = tendEvery
			}
			if n.cfg.ScrubEvery > 0 {
				wait = min(wait, n.cfg.ScrubEvery) // blocks may come in
			}
			select {
			case <-ctx.Done():
			case <-time.After(min(wait, tendEvery)):
			}
			continue
		}
		r, _ := s.one(ctx, b.ID())
		if ctx.Err() != nil {
			return
		}
		if _, err := n.store.Block(b.ID()); errors.Is(err, blobstore.ErrNotFound) {
			continue // dropped meanwhile
		}
		keep(s.diary.note(r))
		if r.State != scrubGood {
			what := "scrub found damage"
			if r.State == scrubUnchecked {
				what = "scrub could not look at the block"
			}
			n.log.Error(what, "block", b.ID().Short(), "bad", r.Bad, "repaired", r.Repaired, "lost", r.Lost, "err", r.Err)
			n.postpone(b.ID())
		}
	}
}

// mend tries to repair what is known to be damaged, and has what it did noted.
func (n *Node) mend(ctx context.Context, note func(ScrubResult)) {
	s := scrub{Shelf: n.Shelf, n: n, opt: ScrubOptions{Repair: true, Patience: custodyPatience}}
	for id := range n.store.Damaged() {
		if r, _ := s.one(ctx, id); ctx.Err() == nil {
			note(r)
			n.log.Warn("damaged block looked at again", "block", id.Short(), "state", r.State, "err", r.Err)
		}
	}
	for _, b := range n.store.Blocks() {
		if lost := b.Quarantined().Count(); lost > 0 && ctx.Err() == nil {
			err := n.heal(ctx, b, custodyPatience)
			r := ScrubResult{ID: b.ID().String(), State: scrubRepaired, Bad: lost, Lost: b.Quarantined().Count()}
			if r.Lost > 0 {
				r.State = scrubDamaged
			}
			if r.Repaired = lost - r.Lost; r.Repaired > 0 {
				note(r)
			}
			n.log.Warn("damaged pieces looked at again", "block", b.ID().Short(), "pieces", lost, "err", err)
		}
	}
}

// postpone leaves a damaged block alone for a day: what could not be checked is
// still due, and would be checked again and again.
func (n *Node) postpone(id erasure.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.postponed[id] = time.Now().Add(24 * time.Hour)
}

// nextScrub is the block whose scrub is due first. Blocks that came in together
// become due over the last quarter of the interval, each always at the same
// place in it.
func (n *Node) nextScrub() (next *blobstore.Block, due time.Time) {
	if n.cfg.ScrubEvery <= 0 {
		return nil, due
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, b := range n.store.Blocks() {
		id := b.ID()
		early := n.cfg.ScrubEvery / 4 / 256 * time.Duration(id[0])
		at := b.Checked().Add(n.cfg.ScrubEvery - early)
		if until := n.postponed[id]; until.After(at) {
			at = until
		}
		if next == nil || at.Before(due) {
			next, due = b, at
		}
	}
	return next, due
}
