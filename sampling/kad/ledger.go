package kad

import (
	"context"
	"math/rand/v2"

	"github.com/libp2p/go-libp2p/core/peer"
	mh "github.com/multiformats/go-multihash"
)

// maxLedger bounds the peers that FindLedger returns. Anybody can stand there any
// number of times; a few drawn at random are as good as all.
const maxLedger = 16

// ledgerKey is the DHT key under which those stand who answer for the ledger.
func ledgerKey(chain string) mh.Multihash { return dhtKey("granary/dht/ledger/v1", chain, nil) }

// ProvideLedger makes the node findable, until Close, as one that answers for the
// ledger. The record spreads in the background.
func (h *Host) ProvideLedger() error {
	key := ledgerKey(h.cfg.Chain)
	h.keys.mu.Lock()
	h.keys.ledger = []mh.Multihash{key}
	h.keys.mu.Unlock()
	return h.keys.provide([]mh.Multihash{key})
}

// FindLedger looks for peers that say they answer for the ledger: at most 16 of
// those found, drawn at random, without the node itself. Nothing about them is
// known to be true. A node that is just joining waits for its first peer, a few
// seconds.
func (h *Host) FindLedger(ctx context.Context) []peer.ID {
	if !h.enter() {
		return nil
	}
	defer h.work.Done()
	ctx, cancel := h.within(ctx)
	defer cancel()
	h.joined(ctx)
	var found []peer.ID
	for p := range h.providers(ctx, ledgerKey(h.cfg.Chain)) {
		if p != h.host.ID() {
			found = append(found, p)
		}
	}
	rand.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
	return found[:min(len(found), maxLedger)]
}
