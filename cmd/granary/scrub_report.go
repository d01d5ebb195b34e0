package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"granary/cmd/granary/internal/durable"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/journal"
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
	History []journal.Scrub   `json:"history"` // the home's journal of scrubs, this one included
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

// errUnasked is added to the error of a report that has all but what others say.
var errUnasked = errors.New("is written, without who else holds the blocks")

// file writes to path what a scrub found and how its blocks stand now. If network
// is not nil it then asks who else holds them, and writes the report anew: who
// interrupts the asking has the first one.
func (r *scrubReport) file(ctx context.Context, path string, results []node.ScrubResult, s scrubber, network holders, report node.Report) error {
	r.Blocks = []reportedBlock{}
	for _, result := range results {
		b := reportedBlock{ScrubResult: result}
		if st, err := s.Block(ctx, result.ID); err == nil {
			b.Stored = &st
		}
		r.Blocks = append(r.Blocks, b)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.write(path); err != nil || network == nil {
		return err
	}
	if err := r.ask(ctx, network, report); err != nil {
		return fmt.Errorf("%s %w: %w", path, errUnasked, err)
	}
	return r.write(path)
}

// askedAtOnce is of how many blocks the holders are asked for at the same time:
// most of it is waiting for those who do not answer.
const askedAtOnce = 8

// ask adds who else holds the blocks. The error is that of ctx.
func (r *scrubReport) ask(ctx context.Context, network holders, report node.Report) error {
	var mu sync.Mutex
	done := 0 // guarded by mu, as is report
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askedAtOnce)
	for i := range r.Blocks {
		group.Go(func() error {
			b := &r.Blocks[i]
			if h, err := network.Holders(ctx, b.ID); err == nil {
				b.Network = &h
			} else {
				b.Unasked = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			report(node.Progress{Stage: "holders", Done: int64(done), Total: int64(len(r.Blocks)), Unit: "blocks"})
			return ctx.Err()
		})
	}
	return group.Wait()
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
