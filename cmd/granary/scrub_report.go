package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"granary/cmd/granary/internal/durable"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
)

// scrubReport is what an institution files away about a scrub: what it looked
// at, what it found and did, and who else holds the same.
type scrubReport struct {
	Type    string            `json:"type"`   // "scrub-report"
	Schema  int               `json:"schema"` // 1
	Version string            `json:"granary"`
	ChainID string            `json:"chain_id"`
	Home    string            `json:"home"`
	Began   time.Time         `json:"began"`
	Ended   time.Time         `json:"ended"`
	Repair  bool              `json:"repair"`
	Sum     node.ScrubSummary `json:"summary"`
	Blocks  []reportedBlock   `json:"blocks"`
}

// reportedBlock is a block after it was scrubbed.
type reportedBlock struct {
	node.ScrubResult
	Stored  *node.BlockStatus     `json:"stored,omitempty"`  // absent where the block cannot be used
	Network *gateway.HoldersReply `json:"network,omitempty"` // only if it was asked for
	Unasked string                `json:"network_error,omitempty"`
}

// holders tells who holds rows of a block: a running node knows.
type holders interface {
	Holders(ctx context.Context, ref string) (gateway.HoldersReply, error)
}

// describe adds to what a scrub found how its blocks stand now, here and, if
// network is not nil, elsewhere.
func (r *scrubReport) describe(ctx context.Context, results []node.ScrubResult, s scrubber, network holders, report node.Report) {
	r.Blocks = []reportedBlock{}
	for i, result := range results {
		b := reportedBlock{ScrubResult: result}
		if st, err := s.Block(ctx, result.ID); err == nil {
			b.Stored = &st
		}
		if network != nil {
			report(node.Progress{Stage: "holders", Done: int64(i), Total: int64(len(results)), Unit: "blocks"})
			if h, err := network.Holders(ctx, result.ID); err == nil {
				b.Network = &h
			} else {
				b.Unasked = err.Error()
			}
		}
		r.Blocks = append(r.Blocks, b)
	}
}

func (r *scrubReport) write(path string) error {
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := durable.Write(path, append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// whoHolds returns who is asked for holders, nil if nobody is to be.
func whoHolds(s scrubber, want bool) (holders, error) {
	if !want {
		return nil, nil
	}
	h, ok := s.(holders)
	if !ok {
		return nil, exit.Usagef("start `granary node`, which can ask them", "--holders: no node runs in this home")
	}
	return h, nil
}
