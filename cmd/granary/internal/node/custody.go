package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/blobstore"
	"granary/cmd/granary/internal/deny"
	"granary/erasure"
	"granary/ledger"
)

const (
	// maxPending bounds the padded bytes of blocks that are being taken up. The
	// ledger bounds what awaits certificates likewise.
	maxPending = 2 << 30

	// maxWaiting bounds the blocks that wait to be taken up; then the log is
	// read no further until some are done.
	maxWaiting = 10_000

	// custodyPatience is how long a block may make no progress before its slot
	// is given to others: it waits for other custodians, or is taken up again
	// later.
	custodyPatience = 10 * time.Minute

	// stalledPart is the part of its size that a block counts for while it
	// waits: it costs little, and yet not any number may wait.
	stalledPart = 16
)

// task is an announced block that is to be taken up.
type task struct {
	index  uint64 // of its announcement in the log
	record ledger.Record
	until  time.Time // when its keep ends and nobody owes it any more; zero: not known

	tries int       // that failed
	after time.Time // when to try again
}

// size is the padded bytes of both files.
func (t task) size() int64 { return 2 * t.record.Info.Geometry().PaddedLength() }

// keep is for how long the announcement pays.
func (t task) keep() time.Duration { return time.Duration(t.record.Keep) * 24 * time.Hour }

// pending is a task that is worked on.
type pending struct {
	task
	stop    context.CancelFunc
	decided bool // its announcement has expired: it is not taken up again
	stalled bool // nobody serves what is missing, and it is not our turn to rebuild it
}

// weight is what the work counts for of maxPending.
func (p pending) weight() int64 {
	if p.stalled {
		return p.size() / stalledPart
	}
	return p.size()
}

// take queues an announced block: a validator checks it whole, a custodian
// keeps its share. One that is queued already is not queued again. It returns
// false when too much waits.
func (n *Node) take(t task) bool {
	if n.deniesRecord(t.record) {
		n.abstain(t)
		return true
	}
	n.mu.Lock()
	same := func(o task) bool { return o.index == t.index }
	p, busy := n.pending[t.record.ID()]
	known := busy && same(p.task) || slices.ContainsFunc(n.waiting, same) || slices.ContainsFunc(n.later, same)
	full := len(n.waiting)+len(n.later) >= maxWaiting
	if !known && !full {
		n.waiting = append(n.waiting, t)
	}
	if busy && same(p.task) && p.until.IsZero() {
		p.until = t.until // it was found pending, before the log was read up to it
		n.pending[t.record.ID()] = p
	}
	n.mu.Unlock()
	if known || full {
		return known
	}
	n.launch()
	return true
}

// launch begins every waiting task, also one that failed before and whose time
// has come again, if there is room beside those worked on. Two announcements of
// one block are worked on one after the other.
func (n *Node) launch() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.idle != "" {
		return
	}
	now, head := time.Now(), n.ledger.Time
	n.later = slices.DeleteFunc(n.later, func(t task) bool {
		if now.Before(t.after) {
			return false
		}
		n.waiting = append(n.waiting, t)
		return true
	})
	room := int64(maxPending)
	for _, p := range n.pending {
		room -= p.weight()
	}
	n.waiting = slices.DeleteFunc(n.waiting, func(t task) bool {
		if !t.until.IsZero() && head.After(t.until) {
			return true
		}
		id := t.record.ID()
		if _, busy := n.pending[id]; busy || t.size() > room {
			return false
		}
		room -= t.size()
		ctx, stop := context.WithCancel(n.ctx)
		n.pending[id] = pending{task: t, stop: stop}
		n.work.Go(func() { n.perform(ctx, t) })
		return true
	})
}

// perform does one task, and makes room for the next.
func (n *Node) perform(ctx context.Context, t task) {
	id := t.record.ID()
	b, err := n.accept(ctx, t)
	if err == nil && n.chain != nil {
		err = n.examine(ctx, t, b)
	} else if err == nil {
		err = n.fetchShare(ctx, b, t.record.Peers)
	}
	if err != nil && ctx.Err() == nil {
		n.log.Warn("block not kept", "block", id.Short(), "err", err)
	}
	t = n.performed(ctx, t, err)
	if err == nil {
		if err := owe(n.ctx, b, t); err != nil && n.ctx.Err() == nil {
			n.log.Warn("note not written", "block", id.Short(), "err", err)
		}
	}
	n.launch()
}

// stall notes whether a block that is worked on only waits, and begins what
// there is room for then.
func (n *Node) stall(id erasure.ID, stalled bool) {
	n.mu.Lock()
	if p, busy := n.pending[id]; busy {
		p.stalled = stalled
		n.pending[id] = p
	}
	n.mu.Unlock()
	n.launch()
}

// performed ends the work on a task and, if it is not done, puts it back where
// the cursor sees it: else the next start would not know of it.
func (n *Node) performed(ctx context.Context, t task, err error) task {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.pending[t.record.ID()]
	interrupted := ctx.Err() != nil // seeding was switched off, maybe on again by now, or the node closes
	p.stop()
	delete(n.pending, t.record.ID())
	n.abstains = n.abstention(err)
	t.until = p.until
	switch {
	case err == nil || p.decided || errors.Is(err, deny.ErrDenied):
	case interrupted:
		n.waiting = append(n.waiting, t)
	default:
		t.tries++
		t.after = time.Now().Add(retryAfter(err, t.tries))
		n.later = append(n.later, t)
	}
	return t
}

// retryAfter is how long a block whose work failed so many times is left
// alone: for good if its publisher lied, which no other try changes.
func retryAfter(err error, tries int) time.Duration {
	if errors.Is(err, erasure.ErrNotClean) {
		return 365 * 24 * time.Hour
	}
	return min(30*time.Second<<min(tries, 20), 6*time.Hour)
}

// forget ends the work on the announcement at a log index, which has expired.
func (n *Node) forget(index uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	decided := func(t task) bool { return t.index == index }
	n.waiting = slices.DeleteFunc(n.waiting, decided)
	n.later = slices.DeleteFunc(n.later, decided)
	for id, p := range n.pending {
		if p.index == index {
			p.decided = true
			n.pending[id] = p
			p.stop()
		}
	}
}

// accept stores an announced block's description, asked of those the record
// names, of the validators, and of whoever else holds it.
func (n *Node) accept(ctx context.Context, t task) (*blobstore.Block, error) {
	id := t.record.ID()
	b, err := n.store.Block(id)
	if errors.Is(err, blobstore.ErrNotFound) || errors.Is(err, blobstore.ErrDamaged) {
		look, cancel := context.WithTimeout(ctx, custodyPatience)
		defer cancel()
		b, err = n.describe(look, Ref{ID: id}, n.sources(t.record.Peers), nil)
	}
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", id.Short(), err)
	}
	if err := owe(ctx, b, t); err != nil {
		return nil, err
	}
	return b, n.seed(b)
}

// sources is whom to ask first for an announced block: those that its
// publisher named, then the validators, and those who were.
func (n *Node) sources(named []ledger.PeerID) []peer.ID {
	var all []peer.ID
	for _, raw := range named {
		if p, err := peer.IDFromBytes(raw); err == nil && p != n.host.ID() {
			all = append(all, p)
		}
	}
	return append(all, n.keepers()...)
}

// keepShare takes up the custody of a stored block again.
func (n *Node) keepShare(b *blobstore.Block) {
	if b.Held().Contains(n.owed(b)) {
		return
	}
	index, err := strconv.ParseUint(string(b.Note(noteIndex)), 10, 64)
	if err != nil {
		n.log.Warn("note not read", "block", b.ID().Short(), "err", err)
		return
	}
	n.take(task{index: index, record: ledger.Record{Info: b.Bundle().Info}})
}

// smallBlock is up to how many content rows owed pieces are simply fetched,
// though k rows would do: decoding takes tables of 74 MiB, the rest of a small
// block 1 MiB.
const smallBlock = 64

// fetchShare gets the pieces we owe by BitTorrent, and rebuilds those that
// nobody serves. When they are k rows or more, any k rows are fetched and the
// rest is computed.
func (n *Node) fetchShare(ctx context.Context, b *blobstore.Block, named []ledger.PeerID) error {
	owed := n.owed(b)
	if b.Held().Contains(owed) {
		return nil
	}
	if k := b.Geometry().K(); k > smallBlock && b.Geometry().RowsIn(owed) >= k {
		if err := n.fetchWhole(ctx, b, named); err != nil {
			return err
		}
		return n.seed(b)
	}
	if err := n.roomFor(ctx, b, owed); err != nil {
		return err
	}
	if n.parity != nil && b.HasContent() { // of a block kept without parity
		return n.parity.compute(b, forCustody)
	}
	began := time.Now()
	if err := (share{n, b, owed, named}).keep(ctx); err != nil {
		return err
	}
	n.log.Info("share held", "block", b.ID().Short(), "pieces", b.Held().Count(), "dur", time.Since(began))
	return n.seed(b)
}

// fetchWhole gets any k rows by BitTorrent and computes the rest; it returns
// erasure.ErrNotClean if they belong to no clean block.
func (n *Node) fetchWhole(ctx context.Context, b *blobstore.Block, named []ledger.PeerID) error {
	if err := n.roomFor(ctx, b, erasure.AllPieces(b.Geometry().Pieces())); err != nil {
		return err
	}
	t, err := n.swarm.Add(n.face(b))
	if err != nil {
		return err
	}
	ctx, cancel := n.patient(ctx, b, custodyPatience)
	defer cancel()
	if _, err := n.fetchRows(ctx, t, b, supplies{first: n.sources(named)}, nil); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w: %w", err, cause)
		}
		return err
	}
	n.coding.Lock() // tables and bands take memory: one block at a time
	defer n.coding.Unlock()
	return b.Complete(ctx, nil)
}
