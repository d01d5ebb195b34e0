package node

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"granary/blobstore"
	"granary/erasure"
	"granary/swarm"
)

// OnDemand computes parity for tests.
type OnDemand struct{ d *onDemand }

// NewOnDemand computes parity until ctx ends, and drops it after stay.
func NewOnDemand(ctx context.Context, stay time.Duration) OnDemand {
	d := newOnDemand(ctx, new(sync.Mutex), slog.New(slog.DiscardHandler))
	d.stay = stay
	return OnDemand{d}
}

// Work computes what is ordered until the context ends.
func (o OnDemand) Work() { o.d.work() }

// Order has parity of b computed, as /granary/row does.
func (o OnDemand) Order(b *blobstore.Block) { o.d.order(b, forRows) }

// OrderRead has it computed as a BitTorrent read does.
func (o OnDemand) OrderRead(b *blobstore.Block) { o.d.order(b, forReads) }

// Turn computes what comes next, or reports that nothing waits.
func (o OnDemand) Turn() bool {
	next := o.d.next()
	if next != nil {
		o.d.perform(next)
	}
	return next != nil
}

// Bound keeps computed parity of a node's store within so many bytes.
func (o OnDemand) Bound(store *blobstore.Store, most int64) {
	n := &Node{Shelf: NewShelf(store, 0), parity: o.d, log: o.d.log}
	o.d.most, o.d.bound = most, n.boundParity
}

// SendAway lets nobody wait for parity of a block.
func (o OnDemand) SendAway(id erasure.ID) { o.d.sendAway(id) }

// Face returns b as others see it.
func (o OnDemand) Face(b *blobstore.Block) swarm.Block { return face{b, o.d} }

// Drop drops parity of b that is not in keep.
func (o OnDemand) Drop(ctx context.Context, b *blobstore.Block, keep erasure.PieceSet) error {
	return o.d.drop(ctx, b, keep)
}

// Computed is how often it was.
func (o OnDemand) Computed() int64 {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	return o.d.computed
}

// Age makes all parity so much older.
func (o OnDemand) Age(by time.Duration) {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	for id, at := range o.d.since {
		o.d.since[id] = at.Add(-by)
	}
}

// MakeRoom sees to it that need bytes are free in a node's store.
func (o OnDemand) MakeRoom(ctx context.Context, store *blobstore.Store, need int64) error {
	n := &Node{Shelf: NewShelf(store, 0), parity: o.d, log: o.d.log}
	return n.makeRoom(ctx, need, erasure.ID{})
}
