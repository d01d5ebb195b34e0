package chain

import (
	"context"
	"sync"
	"time"

	"github.com/cometbft/cometbft/p2p"
)

// How often a configured peer that is away is tried: soon at first, since peers
// that start together miss each other by a moment, then at a rate that costs
// nobody anything.
const (
	redialFirst = 50 * time.Millisecond
	redialMost  = 5 * time.Second

	// look is how often a peer that is there is looked after.
	look = time.Second

	// handover is how long the node with the larger ID leaves dialling to the
	// other. Two that dial each other at once refuse each other's connection.
	handover = 300 * time.Millisecond
)

// stayConnected dials the configured peers whenever they are away, until ctx
// ends. The engine could do it too, but waits up to 3 s at every start, and 5 to
// 8 s after a peer was lost.
func stayConnected(ctx context.Context, sw p2p.Switcher, self p2p.ID, peers []*p2p.NetAddress) {
	var wg sync.WaitGroup
	for _, peer := range peers {
		if peer.ID != self {
			wg.Go(func() { stayConnectedTo(ctx, sw, self, peer) })
		}
	}
	wg.Wait()
}

func stayConnectedTo(ctx context.Context, sw p2p.Switcher, self p2p.ID, peer *p2p.NetAddress) {
	wait := redialFirst
	if self > peer.ID {
		wait = handover
	}
	for first := true; ; first = false {
		switch {
		case first && self > peer.ID:
		case sw.Peers().Has(peer.ID):
			wait = look
		case sw.DialPeerWithAddress(peer) == nil:
			wait = look
		case wait == look:
			wait = redialFirst
		default:
			wait = min(2*wait, redialMost)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
