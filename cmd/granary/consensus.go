package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
)

// printConsensus says how a node that runs the chain stands among the others.
func printConsensus(w io.Writer, s node.ChainStatus) {
	switch {
	case s.Halted:
		fmt.Fprintf(w, "consensus  halted at height %d: start the node again when this is mended\n", s.Height)
	case !s.Syncing:
		fmt.Fprintf(w, "consensus  height %d, %d nodes connected\n", s.Height, s.Nodes)
	case s.Highest > 0:
		fmt.Fprintf(w, "consensus  fetching heights: %d of %d, %d nodes connected\n", s.Height, s.Highest, s.Nodes)
	default:
		fmt.Fprintf(w, "consensus  at height %d, looking for the others\n", s.Height)
	}
	if s.Stuck != "" {
		fmt.Fprintf(w, "           %s\n", s.Stuck)
	}
	if d := s.ClockAhead().Round(time.Second); d > 0 {
		fmt.Fprintf(w, "clock      %s ahead of the validators': set it\n", d)
	} else if d < 0 {
		fmt.Fprintf(w, "clock      %s behind the validators': set it\n", -d)
	}
}

const (
	// syncLook is how often a node that fetches old heights is asked how far it is.
	syncLook = time.Second

	// syncQuiet is how long that may take without a word: every start takes a
	// moment to find the others.
	syncQuiet = 3 * time.Second
)

// showSync tells how a node of the chain comes on with fetching old heights, until
// it has them or ctx ends.
func (a *app) showSync(ctx context.Context, c *gateway.Client) {
	defer a.ui.Done()
	tick := time.NewTicker(syncLook)
	defer tick.Stop()
	for began := time.Now(); ; {
		s, err := c.Status(ctx)
		if err != nil || s.Consensus == nil || !s.Consensus.Syncing {
			return
		}
		if time.Since(began) > syncQuiet {
			a.ui.Progress(node.Progress{
				Stage: "chain", Done: s.Consensus.Height, Total: s.Consensus.Highest, Unit: "heights", Text: s.Consensus.Stuck,
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
