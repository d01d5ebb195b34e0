package node

import (
	"context"
	"time"
)

const (
	// findLedgerFirst is the pause after the first search in the DHT for those who
	// answer for the ledger; it doubles up to findLedgerMost while all is well, and
	// up to findLedgerFailing while the ledger cannot be read. A young network has
	// nobody there yet.
	findLedgerFirst   = 2 * time.Second
	findLedgerMost    = 30 * time.Minute
	findLedgerFailing = time.Minute

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

// namePeers tells the light client whom to ask: the latest list, whoever is quicker.
func (n *Node) namePeers() {
	n.naming.Lock()
	defer n.naming.Unlock()
	n.light.SetPeers(n.providers()...)
}

// findProviders keeps looking in the DHT for nodes that answer for the ledger,
// until ctx ends.
func (n *Node) findProviders(ctx context.Context) {
	failing := func() bool { return n.ledgerState().Err != "" } // those that are known do not do
	for wait := findLedgerFirst; ctx.Err() == nil; wait = awaitSearch(ctx, wait, failing) {
		if found := n.host.FindLedger(ctx); len(found) > 0 {
			n.mu.Lock()
			n.answering = found
			n.mu.Unlock()
			n.namePeers()
			n.nudge()
		}
	}
}

// awaitSearch waits until the next search is due, or ctx ends: as long as it is
// told to, but less if the ledger cannot be read. It returns how long to wait the
// next time.
func awaitSearch(ctx context.Context, wait time.Duration, failing func() bool) time.Duration {
	began := time.Now()
	for left := wait; ctx.Err() == nil && left > 0; left = wait - time.Since(began) {
		select {
		case <-ctx.Done():
		case <-time.After(min(left, findLedgerFailing)):
		}
		if failing() {
			wait = min(wait, findLedgerFailing)
		}
	}
	return min(2*wait, findLedgerMost)
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
