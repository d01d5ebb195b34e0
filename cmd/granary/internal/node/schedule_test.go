package node_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"granary/cmd/granary/internal/node"
	"granary/erasure"
	"granary/ledger"
	"granary/sampling"
)

// withheld is a network of one holder, which has no row, and notes when it is
// asked for which.
type withheld struct {
	began time.Time

	mu    sync.Mutex // guards asked
	asked map[time.Duration][]int
}

func (w *withheld) Row(_ context.Context, _ sampling.Holder, _ erasure.ID, row int) ([]byte, []erasure.Root, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := time.Since(w.began).Truncate(time.Second)
	w.asked[at] = append(w.asked[at], row)
	return nil, nil, sampling.ErrNotHeld
}

func (w *withheld) For(context.Context, erasure.ID, int, int) []sampling.Holder {
	return []sampling.Holder{"holder"}
}

// Outside devnets the rows of a test that is not final are asked for at once,
// after 30 s, 5 min and an hour, and always the same.
func TestRowsAreAskedForAgainAfterHalfAMinuteFiveMinutesAndAnHour(t *testing.T) {
	content := bytes.Repeat([]byte("row"), 100*erasure.RowSize/3)
	bundle, err := erasure.Commit(t.Context(), "withheld", int64(len(content)), bytes.NewReader(content), discard{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	draw, err := sampling.Draw(bundle.Info.Geometry().K(), sampling.DefaultBits)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		p := ledger.DefaultParams()
		net := &withheld{began: time.Now(), asked: map[time.Duration][]int{}}
		s := sampling.New(net, net, sampling.Config{RetryRound: p.RetryRound})
		_, err := node.Repeat(t.Context(), p, time.Hour, func(int) (node.Verified, error) {
			v, err := s.Judge(t.Context(), sampling.Target{Bundle: bundle, Draw: draw, Fresh: true, Announced: net.began.Add(-time.Hour)}, nil)
			return node.Verified{Verdict: v}, err
		})
		if err != nil {
			t.Fatal(err)
		}
		var times []time.Duration
		for at, rows := range net.asked {
			times = append(times, at)
			for _, row := range rows {
				if !slices.Contains(draw, row) {
					t.Errorf("row %d, asked for after %v, was not drawn", row, at)
				}
			}
		}
		slices.Sort(times)
		// Each test has a second round.
		want := []time.Duration{
			0, 30 * time.Second, 5 * time.Minute, 5*time.Minute + 30*time.Second, time.Hour, time.Hour + 30*time.Second,
		}
		if !slices.Equal(times, want) {
			t.Errorf("asked after %v, want %v", times, want)
		}
	})
}

func TestRepeatingEndsWithAFinalVerdictAndWithErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		v, err := node.Repeat(t.Context(), ledger.DevnetParams(), time.Hour, func(try int) (node.Verified, error) {
			tries = try
			v := node.Verified{Verdict: sampling.Verdict{State: sampling.Inconclusive, Reason: sampling.NoHolders}}
			if try == 3 {
				v.State = sampling.Available
			}
			return v, nil
		})
		if err != nil || tries != 3 || v.State != sampling.Available || v.Took != 2*time.Minute {
			t.Errorf("%s after %d tests and %v, %v; want available after 3 and 2 min", v.State, tries, v.Took, err)
		}
		if _, err := node.Repeat(t.Context(), ledger.DevnetParams(), time.Hour, func(int) (node.Verified, error) {
			return node.Verified{}, io.ErrUnexpectedEOF
		}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v, want the test's error", err)
		}
	})
}

type discard struct{}

func (discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
