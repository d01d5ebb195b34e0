package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"granary/blobstore"
	"granary/erasure"
	"granary/ledger"
	"granary/ledger/light"
)

// Notes beside a stored block; docs/spec/home.md specifies them.
const (
	noteIndex = "index" // log index of the latest announcement for which the block is kept, in decimal
	noteUntil = "until" // when that keep ends, Unix seconds in decimal; absent while unknown
	noteOwn   = "own"   // a Reason: why the home's owner wants the block
	noteAsked = "asked" // when `get` last asked for it, Unix milliseconds in decimal
)

// Reason is why a block is kept. A block can have several. One that has none is
// kept like a pinned one: the index was lost, and why it was kept with it.
type Reason string

// The reasons. The first two last until Unpin, custody until the keep paid for
// ends, and what was only fetched goes first when the quota is reached.
const (
	ReasonPublished Reason = "published" // from this home
	ReasonPinned    Reason = "pinned"    // by the home's owner
	ReasonCustody   Reason = "custody"   // a part of it, or all, is owed to the network
	ReasonFetched   Reason = "fetched"   // `get` asked for it
)

// reasons says why b is kept, and until when custody lasts, zero while unknown.
func (s *Shelf) reasons(b *blobstore.Block) (all []Reason, until time.Time) {
	switch own := Reason(b.Note(noteOwn)); own {
	case "":
	case ReasonPublished, ReasonPinned, ReasonFetched:
		all = append(all, own)
	default:
		all = append(all, ReasonPinned) // a newer version's, or damaged: it was wanted
	}
	if b.Note(noteIndex) != nil {
		all = append(all, ReasonCustody)
		if sec, err := strconv.ParseInt(string(b.Note(noteUntil)), 10, 64); err == nil {
			until = time.Unix(sec, 0)
		}
	}
	return all, until
}

// Pin keeps a stored block, as far as it is held, whatever the ledger and the
// quota say, until Unpin.
func (s *Shelf) Pin(ctx context.Context, id erasure.ID) error {
	b, err := s.store.Block(id)
	if err != nil {
		return err
	}
	if own := Reason(b.Note(noteOwn)); own == ReasonPublished || own == ReasonPinned {
		return nil
	}
	return b.SetNote(ctx, noteOwn, []byte(ReasonPinned))
}

// askedFor notes that `get` wants b.
func askedFor(ctx context.Context, b *blobstore.Block) error {
	if err := b.SetNote(ctx, noteAsked, strconv.AppendInt(nil, time.Now().UnixMilli(), 10)); err != nil {
		return err
	}
	if b.Note(noteOwn) != nil {
		return nil
	}
	return b.SetNote(ctx, noteOwn, []byte(ReasonFetched))
}

// Unpin forgets that a block was published, pinned or fetched here, and deletes
// what nobody is owed of it: all of it, or all but our share.
func (n *Node) Unpin(ctx context.Context, id erasure.ID) error {
	b, err := n.store.Block(id)
	if err != nil {
		return err
	}
	if err := b.SetNote(ctx, noteOwn, nil); err != nil {
		return err
	}
	if b.Note(noteIndex) == nil {
		return n.Remove(ctx, id)
	}
	if n.chain == nil {
		return n.cut(ctx, b, n.owed(b))
	}
	if status, _ := n.standing(ctx, b); status != ledger.Certified.String() {
		return nil // still to be examined; the certificate cuts it
	}
	return n.cut(ctx, b, n.validatorShare(b))
}

// cut drops all pieces of b but those of share.
func (n *Node) cut(ctx context.Context, b *blobstore.Block, share erasure.PieceSet) error {
	drop := b.Held()
	for p := range share.All() {
		drop.Remove(p)
	}
	if drop.Count() == 0 {
		return nil
	}
	if err := b.DropPieces(ctx, drop); err != nil {
		return fmt.Errorf("cut %s to our share: %w", b.ID().Short(), err)
	}
	n.host.StopProvidingBlock(b.ID())
	return n.seed(b)
}

// owe notes for which announcement a block is kept, and until when. A further
// announcement of a block that is kept prolongs its keep. The log is read again
// after a crash, so an announcement that was counted counts no second time.
func owe(ctx context.Context, b *blobstore.Block, t task) error {
	index, err := strconv.ParseUint(string(b.Note(noteIndex)), 10, 64)
	known := err == nil && index >= t.index
	sec, err := strconv.ParseInt(string(b.Note(noteUntil)), 10, 64)
	timed := err == nil
	if !t.until.IsZero() && !(known && timed) {
		until := t.until
		if begins := until.Add(-t.keep()); timed && time.Unix(sec, 0).After(begins) {
			until = time.Unix(sec, 0).Add(t.keep())
		}
		// Before the index: what a crash makes us count twice is kept too long.
		if err := b.SetNote(ctx, noteUntil, strconv.AppendInt(nil, until.Unix(), 10)); err != nil {
			return err
		}
	}
	if known {
		return nil
	}
	if err := noteAnnouncer(ctx, b, t.record); err != nil {
		return err
	}
	return b.SetNote(ctx, noteIndex, strconv.AppendUint(nil, t.index, 10))
}

// dropEnded deletes the blocks whose keep has ended and that nobody here wants.
// Time is that of the verified head, so a clock that is wrong deletes nothing,
// and the ledger is asked once more before anything goes.
func (n *Node) dropEnded(ctx context.Context) {
	n.mu.Lock()
	head, state := n.ledger.Time, n.ledger.State
	n.mu.Unlock()
	if state != light.Synced {
		return
	}
	// Where the quota was lowered, or the ledger grew into it.
	if err := n.makeRoom(ctx, 0, erasure.ID{}); err != nil {
		n.log.Debug("quota exceeded", "err", err)
	}
	for _, b := range n.store.Blocks() {
		_, until := n.reasons(b)
		if !n.onlyOwed(b) || until.IsZero() || head.Before(until) {
			continue
		}
		if err := n.dropIfEnded(ctx, b, head); err != nil && ctx.Err() == nil {
			n.log.Warn("block whose keep has ended not removed", "block", b.ID().Short(), "err", err)
		}
	}
}

func (n *Node) dropIfEnded(ctx context.Context, b *blobstore.Block, head time.Time) error {
	found, err := n.light.Find(ctx, b.ID())
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		return err
	}
	if found.Until.After(head) {
		return b.SetNote(ctx, noteUntil, strconv.AppendInt(nil, found.Until.Unix(), 10))
	}
	return n.unlessHeld(b.ID(), func() error {
		// Asking takes a while, in which somebody may have come to want it.
		if !n.onlyOwed(b) {
			return nil
		}
		n.log.Info("keep has ended: block removed", "block", b.ID().Short())
		return n.Remove(ctx, b.ID())
	})
}

// onlyOwed reports whether b is kept for the network alone, and nobody is at
// work on it.
func (n *Node) onlyOwed(b *blobstore.Block) bool {
	why, _ := n.reasons(b)
	return slices.Equal(why, []Reason{ReasonCustody}) && !n.busy(b.ID())
}

// busy reports whether a block is being taken up, or fetched.
func (n *Node) busy(id erasure.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, busy := n.pending[id]
	return busy || n.fetching[id] > 0
}
