package main

import (
	"strings"
	"testing"

	"granary/cmd/granary/internal/node"
)

func TestConsensusIsDescribedAsItIs(t *testing.T) {
	for want, s := range map[string]node.ChainStatus{
		"height 12, 3 nodes connected":                  {Height: 12, Nodes: 3},
		"fetching heights: 12 of 90, 1 nodes connected": {Height: 12, Highest: 90, Syncing: true, Nodes: 1},
		"at height 12, looking for the others":          {Height: 12, Syncing: true},
		"halted at height 12":                           {Height: 12, Halted: true, Stuck: "the disk is full"},
	} {
		var got strings.Builder
		printConsensus(&got, s)
		if !strings.Contains(got.String(), want) || !strings.Contains(got.String(), s.Stuck) || s.Halted && strings.Contains(got.String(), "connected") {
			t.Errorf("%+v: %q, want %q", s, got.String(), want)
		}
	}
}
