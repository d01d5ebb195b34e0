package node

import (
	"errors"
	"time"

	"granary/ledger/chain"
)

// ChainStatus is how a node that runs the chain stands among those that do.
type ChainStatus struct {
	Height  int64  `json:"height"`            // that it has applied
	Highest int64  `json:"highest,omitempty"` // that connected nodes say they have
	Halted  bool   `json:"halted,omitempty"`  // it gave up, and Stuck says why; only a restart helps
	Syncing bool   `json:"syncing"`           // it still fetches old heights
	Nodes   int    `json:"nodes"`             // connected on the consensus port
	Stuck   string `json:"stuck,omitempty"`   // why it does not come on, and what to do
	AheadMS int64  `json:"clock_ahead_ms,omitempty"`
}

// ClockAhead is how far this machine's clock is ahead of the validators', as far
// as that is more than delay; negative if it is behind.
func (s ChainStatus) ClockAhead() time.Duration { return time.Duration(s.AheadMS) * time.Millisecond }

// chainStatus is nil for a node that does not run the chain.
func (n *Node) chainStatus() *ChainStatus {
	if n.chain == nil {
		return nil
	}
	s, err := n.chain.Status()
	out := &ChainStatus{
		Height: s.Height, Highest: s.Highest, Syncing: s.Syncing, Nodes: s.Peers,
		AheadMS: s.ClockAhead.Milliseconds(),
	}
	switch {
	case err != nil:
		out.Halted, out.Stuck = errors.Is(err, chain.ErrHalted), err.Error()
	case errors.Is(s.Stuck, chain.ErrAlone):
		out.Stuck = s.Stuck.Error() + ": is `consensus` in the network file, or consensus_peers here, where one listens"
	case errors.Is(s.Stuck, chain.ErrHistory):
		out.Stuck = s.Stuck.Error() + ": name a node that keeps all heights in consensus_peers"
	}
	return out
}
