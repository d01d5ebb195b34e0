package node

import (
	"context"
	"time"
)

const (
	// findLedgerFirst is the pause after the first search in the DHT for those who
	// answer for the ledger; it doubles up to findLedgerMost while all is well. A
	// young network has nobody there yet.
	findLedgerFirst = 2 * time.Second
	findLedgerMost  = 30 * time.Minute

	// offerLedger is how often a node that fetches old heights looks whether it has
	// them, and can answer others.
	offerLedger = 2 * time.Second
)

// providers is whom the light client asks, by source: a validator its own chain,
// which it has checked itself; everybody else the validators, those of the
// genesis until the ledger tells of others, and who stands in the DHT.
func (n *Node) providers() [][]string {
	if n.chain != nil {
		return [][]string{{n.host.ID().String()}}
	}
	var named, found []string
	for _, p := range n.validators() {
		named = append(named, p.String())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.answering {
		found = append(found, p.String())
	}
	return [][]string{named, found}
}

// findProviders keeps looking in the DHT for nodes that answer for the ledger,
// until ctx ends.
func (n *Node) findProviders(ctx context.Context) {
	for wait := findLedgerFirst; ctx.Err() == nil; wait = min(2*wait, findLedgerMost) {
		if found := n.host.FindLedger(ctx); len(found) > 0 {
			n.mu.Lock()
			n.answering = found
			n.mu.Unlock()
			n.light.SetPeers(n.providers()...)
			n.nudge()
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		if n.ledgerState().Err != "" { // those that are known do not do
			wait = findLedgerFirst / 2
		}
	}
}

// offerChain makes a node that runs the chain findable by those who read it, once
// it has all of it.
func (n *Node) offerChain(ctx context.Context) {
	tick := time.NewTicker(offerLedger)
	defer tick.Stop()
	for {
		if s, err := n.chain.Status(); err == nil && !s.Syncing {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	if err := n.host.ProvideLedger(); err != nil && ctx.Err() == nil {
		n.log.Warn("not findable by those who read the ledger", "err", err)
	}
}

// ledgerState is what the last look at the ledger gave.
func (n *Node) ledgerState() LedgerStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ledger
}
