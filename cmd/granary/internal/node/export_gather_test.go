package node

import (
	"context"
	"maps"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/blobstore"
	"granary/erasure"
	"granary/sampling/kad"
	"granary/swarm"
)

// Gather gathers rows of b from holders without waiting for BitTorrent.
func Gather(ctx context.Context, b *blobstore.Block, holders map[peer.ID]kad.Hello, st swarm.Status,
	row func(context.Context, peer.ID, int) ([]byte, []erasure.Root, error),
) error {
	g := newGather(b, row)
	g.after = 0
	for p, hello := range holders {
		g.heard(p, hello)
	}
	return g.run(ctx, func() swarm.Status { return st })
}

// Holders are those that a fetch knows.
type Holders struct{ g *gather }

// NewHolders returns none.
func NewHolders(b *blobstore.Block) Holders { return Holders{newGather(b, nil)} }

// Heard notes what a holder says.
func (h Holders) Heard(p peer.ID, hello kad.Hello) { h.g.heard(p, hello) }

// Known lists who is remembered.
func (h Holders) Known() []peer.ID { return slices.Collect(maps.Keys(h.g.holders)) }
