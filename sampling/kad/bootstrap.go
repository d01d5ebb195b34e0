package kad

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
)

const (
	// fewPeers is the size of the routing table below which every bootstrap
	// peer is wanted: with more, the DHT looks after itself.
	fewPeers = 10

	// While a bootstrap peer cannot be reached it is tried again after
	// firstRetry, then after twice as long, up to lastRetry. The first is short
	// because the nodes of a devnet start together.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second

	connectTimeout = 5 * time.Second
)

func parseBootstrap(addrs []string) ([]peer.AddrInfo, error) {
	byID := make(map[peer.ID]int)
	var infos []peer.AddrInfo
	for _, a := range addrs {
		info, err := peer.AddrInfoFromString(a)
		if err != nil {
			return nil, fmt.Errorf("bootstrap peer %q: %w", a, err)
		}
		if i, ok := byID[info.ID]; ok {
			infos[i].Addrs = append(infos[i].Addrs, info.Addrs...)
			continue
		}
		byID[info.ID] = len(infos)
		infos = append(infos, *info)
	}
	return infos, nil
}

// bootstrap keeps the node connected to its bootstrap peers while it knows few
// others, until ctx ends.
func (h *Host) bootstrap(ctx context.Context) {
	if len(h.boot) == 0 {
		return
	}
	retry := firstRetry
	for {
		wait := retry
		if h.dht.RoutingTable().Size() >= fewPeers || h.connectAll(ctx, h.boot) {
			wait, retry = lastRetry, firstRetry // only look again, later
		} else {
			retry = min(2*retry, lastRetry)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// connectAll connects to all peers at once and reports whether it could.
func (h *Host) connectAll(ctx context.Context, peers []peer.AddrInfo) bool {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex // guards failed
		failed int
	)
	for _, p := range peers {
		if p.ID == h.host.ID() || h.host.Network().Connectedness(p.ID) == network.Connected {
			continue
		}
		wg.Go(func() {
			// After a failure libp2p refuses to dial again for 5 s and more,
			// which is longer than a peer that is just starting needs.
			if s, ok := h.host.Network().(*swarm.Swarm); ok {
				s.Backoff().Clear(p.ID)
			}
			if err := h.host.Connect(ctx, p); err != nil {
				h.log.Debug("bootstrap peer not reached", "peer", p.ID, "err", err)
				mu.Lock()
				failed++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed == 0
}

// joined waits until the DHT knows somebody to ask, for lookupTimeout at most,
// and not at all in a node that has nobody to join by. Without it a search just
// after Open would find nothing.
func (h *Host) joined(ctx context.Context) {
	if len(h.boot) == 0 || h.dht.RoutingTable().Size() > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond) // the table signals nothing
	defer tick.Stop()
	for h.dht.RoutingTable().Size() == 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
