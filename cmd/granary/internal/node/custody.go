package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/blobstore"
	"granary/erasure"
	"granary/ledger"
)

const (
	// maxPending bounds the padded bytes of blocks that are being taken up. The
	// ledger bounds what awaits certificates likewise.
	maxPending = 2 << 30

	noteIndex = "index" // log index of the announcement for which a block is kept, in decimal
	noteOwn   = "own"   // published or asked for here: kept whatever the ledger says

	// custodyPatience is how long a block may make no progress before its slot
	// is given to others; the next start takes it up again.
	custodyPatience = 10 * time.Minute
)

// pending is a block that is being taken up.
type pending struct {
	index uint64 // of its announcement in the log
	size  int64  // padded bytes of both files
	stop  context.CancelFunc
}

// admit reserves a slot for a block among the pending ones; dismiss frees it.
func (n *Node) admit(id erasure.ID, index uint64, size int64) (context.Context, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := size
	for _, p := range n.pending {
		all += p.size
	}
	if _, busy := n.pending[id]; busy || all > maxPending {
		return nil, false
	}
	ctx, stop := context.WithCancel(n.ctx)
	n.pending[id] = pending{index: index, size: size, stop: stop}
	return ctx, true
}

func (n *Node) dismiss(id erasure.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pending[id].stop()
	delete(n.pending, id)
}

// dismissAt ends the work on the announcement at a log index, if any.
func (n *Node) dismissAt(index uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.pending {
		if p.index == index {
			p.stop()
		}
	}
}

// accept stores an announced block's description, asked of those the record
// names, of the validators, and of whoever else holds it.
func (n *Node) accept(ctx context.Context, index uint64, r ledger.Record) (*blobstore.Block, error) {
	id := r.ID()
	b, err := n.store.Block(id)
	if errors.Is(err, blobstore.ErrNotFound) || errors.Is(err, blobstore.ErrDamaged) {
		look, cancel := context.WithTimeout(ctx, custodyPatience)
		defer cancel()
		b, err = n.describe(look, Ref{ID: id}, n.sources(r.Peers), nil)
	}
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", id.Short(), err)
	}
	if err := b.SetNote(ctx, noteIndex, strconv.AppendUint(nil, index, 10)); err != nil {
		return nil, err
	}
	return b, n.seed(b)
}

// sources is whom to ask first for an announced block: those that its
// publisher named, then the validators.
func (n *Node) sources(named []ledger.PeerID) []peer.ID {
	var all []peer.ID
	for _, raw := range named {
		if p, err := peer.IDFromBytes(raw); err == nil && p != n.host.ID() {
			all = append(all, p)
		}
	}
	return append(all, n.validators()...)
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
	ctx, ok := n.admit(b.ID(), index, 2*b.Geometry().PaddedLength())
	if !ok {
		return
	}
	n.background(func(context.Context) {
		defer n.dismiss(b.ID())
		if err := n.fetchShare(ctx, b, nil); err != nil && ctx.Err() == nil {
			n.log.Warn("custody not complete", "block", b.ID().Short(), "err", err)
		}
	})
}

// smallBlock is up to how many content rows owed pieces are simply fetched,
// though k rows would do: decoding takes tables of 74 MiB, the rest of a small
// block 1 MiB.
const smallBlock = 64

// fetchShare gets the pieces we owe by BitTorrent. When they are k rows or
// more, any k rows are fetched and the rest is computed.
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
	t, err := n.swarm.Add(b)
	if err != nil {
		return err
	}
	began := time.Now()
	defer n.supply(ctx, t, b.ID(), n.sources(named), nil)()
	ctx, cancel := patient(ctx, b, custodyPatience)
	defer cancel()
	if err := t.Fetch(ctx, owed); err != nil {
		return fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	n.log.Info("share held", "block", b.ID().Short(), "pieces", b.Held().Count(), "dur", time.Since(began))
	return n.seed(b)
}

// fetchWhole gets any k rows by BitTorrent and computes the rest; it returns
// erasure.ErrNotClean if they belong to no clean block.
func (n *Node) fetchWhole(ctx context.Context, b *blobstore.Block, named []ledger.PeerID) error {
	t, err := n.swarm.Add(b)
	if err != nil {
		return err
	}
	defer n.supply(ctx, t, b.ID(), n.sources(named), nil)()
	ctx, cancel := patient(ctx, b, custodyPatience)
	defer cancel()
	if err := t.FetchAny(ctx, nil); err != nil {
		return fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	n.coding.Lock() // tables and bands take memory: one block at a time
	defer n.coding.Unlock()
	return b.Complete(ctx, nil)
}
