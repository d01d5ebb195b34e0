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

// NewOnDemand computes parity until ctx ends, and drops it after idle.
func NewOnDemand(ctx context.Context, idle time.Duration) OnDemand {
	d := newOnDemand(ctx, new(sync.Mutex), slog.New(slog.DiscardHandler))
	d.idle = idle
	return OnDemand{d}
}

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
