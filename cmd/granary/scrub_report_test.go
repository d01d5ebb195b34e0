package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
)

// slowHolders answers nobody before so many are asking.
type slowHolders struct {
	scrubber
	together int
	ask      func(ctx context.Context, asked int) error

	mu     sync.Mutex
	asking int
	most   int
	asked  int
	enough chan struct{}
}

func (h *slowHolders) Block(context.Context, string) (node.BlockStatus, error) {
	return node.BlockStatus{Whole: true}, nil
}

func (h *slowHolders) Holders(ctx context.Context, ref string) (gateway.HoldersReply, error) {
	h.mu.Lock()
	h.asked++
	asked := h.asked
	h.asking++
	h.most = max(h.most, h.asking)
	if asked == h.together {
		close(h.enough)
	}
	h.mu.Unlock()
	<-h.enough
	err := h.ask(ctx, asked)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asking--
	return gateway.HoldersReply{Rows: asked}, err
}

// TestReportIsWrittenBeforeOthersAreAsked: who is not patient has what the scrub
// found, who is has the rest, of several blocks at once.
func TestReportIsWrittenBeforeOthersAreAsked(t *testing.T) {
	var results []node.ScrubResult
	for i := range 40 {
		results = append(results, node.ScrubResult{ID: fmt.Sprintf("%064x", i), State: "good"})
	}
	path := filepath.Join(t.TempDir(), "report.json")
	read := func() (r scrubReport) {
		t.Helper()
		raw, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(raw, &r)
		}
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	ctx, cancel := context.WithCancel(t.Context())
	h := &slowHolders{together: askedAtOnce, enough: make(chan struct{}), ask: func(ctx context.Context, asked int) error {
		if r := read(); len(r.Blocks) != 40 || r.Blocks[39].Stored == nil || r.Blocks[0].Network != nil {
			t.Errorf("while others are asked the report has %d blocks", len(r.Blocks))
		}
		if asked == 20 {
			cancel()
		}
		return ctx.Err()
	}}
	err := (&scrubReport{}).file(ctx, path, results, h, h, func(node.Progress) {})
	if !errors.Is(err, context.Canceled) || len(read().Blocks) != 40 {
		t.Errorf("interrupted: %v, %d blocks in the report", err, len(read().Blocks))
	}

	refused := errors.New("nobody answers")
	h = &slowHolders{together: askedAtOnce, enough: make(chan struct{}), ask: func(_ context.Context, asked int) error {
		if asked == 7 {
			return refused
		}
		return nil
	}}
	var told []int64
	if err := (&scrubReport{}).file(t.Context(), path, results, h, h, func(p node.Progress) { told = append(told, p.Done) }); err != nil {
		t.Fatal(err)
	}
	answered, unasked := 0, 0
	for _, b := range read().Blocks {
		switch {
		case b.Network != nil && b.Network.Rows > 0:
			answered++
		case b.Unasked == refused.Error():
			unasked++
		}
	}
	if answered != 39 || unasked != 1 || h.most != askedAtOnce || len(told) != 40 || told[39] != 40 {
		t.Errorf("%d answered, %d did not, %d at once, progress %v", answered, unasked, h.most, told)
	}
}
