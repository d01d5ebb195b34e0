package node_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"granary/cmd/granary/internal/node"
)

func TestSearchesForTheLedgerGrowRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failing atomic.Bool
		failing.Store(true)
		search := func(wait time.Duration) (took, next time.Duration) {
			began := time.Now()
			next = node.AwaitSearch(t.Context(), wait, failing.Load)
			return time.Since(began), next
		}
		waits := func(wait time.Duration) (all []time.Duration) {
			for range 9 {
				var took time.Duration
				took, wait = search(wait)
				all = append(all, took)
			}
			return all
		}
		if all := waits(2 * time.Second); all[0] != 2*time.Second || all[3] != 16*time.Second || all[5] != time.Minute || all[8] != time.Minute {
			t.Errorf("in error: %v, want up to a minute", all)
		}
		failing.Store(false)
		if all := waits(2 * time.Second); all[0] != 2*time.Second || all[8] != 512*time.Second {
			t.Errorf("while all is well: %v, want twice as long each", all)
		}
		time.AfterFunc(10*time.Minute+time.Second, func() { failing.Store(true) })
		if took, next := search(30 * time.Minute); took != 11*time.Minute || next != 2*time.Minute {
			t.Errorf("an error after ten minutes: waited %v, then %v; want 11 minutes and two", took, next)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		node.AwaitSearch(ctx, time.Hour, failing.Load)
	})
}
