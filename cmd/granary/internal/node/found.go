package node

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"granary/erasure"
	"granary/swarm"
)

// Sources are BitTorrent's own ways to find peers, which the owner of a home may
// turn on.
type Sources = swarm.Sources

// describeEvery is how long to wait before sources are asked again who has a
// block that nobody could describe yet.
const describeEvery = 20 * time.Second

// describeFound looks for a block's description with those that the sources of
// the swarm name, again and again until ctx ends: stock clients, mostly.
func (n *Node) describeFound(ctx context.Context, id erasure.ID, offer func(erasure.Bundle)) {
	for ctx.Err() == nil {
		var mu sync.Mutex
		var addrs []netip.AddrPort
		if err := n.swarm.Find(ctx, id, func(found []netip.AddrPort) {
			mu.Lock()
			defer mu.Unlock()
			addrs = append(addrs, found...)
		}); err != nil && ctx.Err() == nil {
			n.log.Debug("source of peers failed", "block", id.Short(), "err", err)
		}
		if b, err := n.swarm.Describe(ctx, id, addrs); err == nil {
			offer(b)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(describeEvery):
		}
	}
}
