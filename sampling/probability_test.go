package sampling_test

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"granary/erasure"
	"granary/sampling"
)

var (
	seed  = flag.Uint64("seed", 20261121, "seed of the draws that are counted")
	draws = flag.Int("draws", defaultDraws, "tests that are counted for each part of the rows")
)

// unlikely is what a count must not be: beyond a number that it reaches in one
// of 10^9 runs, to either side. All the runs of a day together then fail
// wrongly less than once in 10^6 days, and never on the fixed seed.
const unlikely = 1e-9

// tails returns the probabilities that of n trials, each with probability p, at
// most x and at least x succeed.
func tails(n int, p float64, x int) (most, least float64) {
	ln := func(n int) float64 { v, _ := math.Lgamma(float64(n) + 1); return v }
	for i := range n + 1 {
		q := 0.0
		switch {
		case p > 0 && p < 1:
			q = math.Exp(ln(n) - ln(i) - ln(n-i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
		case p == 0 && i == 0, p == 1 && i == n:
			q = 1
		}
		if i <= x {
			most += q
		}
		if i >= x {
			least += q
		}
	}
	return most, least
}

// expectCount fails the test if x of n is too unlikely.
func expectCount(t *testing.T, what string, x, n int, p float64) {
	t.Helper()
	most, least := tails(n, p, x)
	t.Logf("%s: %d of %d available, expected %.4g", what, x, n, float64(n)*p)
	if min(most, least) < unlikely {
		t.Errorf("%s: %d of %d available, expected %.4g: as few with probability %.2g, as many with %.2g",
			what, x, n, float64(n)*p, most, least)
	}
}

// passes is the definition of the test: a stage has its rows.
func passes(p erasure.Plan, draw []int, gone map[int]bool) bool {
	for _, s := range p.Stages {
		missing := 0
		for _, row := range draw[:s.Rows] {
			if gone[row] {
				missing++
			}
		}
		if missing <= s.Tolerate {
			return true
		}
	}
	return false
}

// judgeDraw judges a block without control, of three holders, in two rounds.
func judgeDraw(t *testing.T, b *block, bits int, draw []int, deny func(context.Context, request) error) sampling.Verdict {
	t.Helper()
	net := newNetwork(3, b)
	net.deny = deny
	target := fresh(b)
	target.Bits, target.Draw = bits, draw
	v, err := sampling.New(net, net, sampling.Config{RetryRound: time.Second}).Judge(t.Context(), target, nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, v)
	for row := range net.asked(b.id) {
		if _, ok := v.Causes[row]; !ok {
			t.Fatalf("row %d was asked for, and is not in the verdict", row)
		}
	}
	return v
}

var parts = []float64{0, 0.10, 0.24, 0.26, 0.50, 0.60}

// The frequency of Available at each part of the rows that is withheld is the
// pass probability of the plan, for the sampler itself and, over more draws
// than it can judge, for the definition of the test that it is held to.
func TestFrequencyOfAvailableIsThePassProbability(t *testing.T) {
	t.Logf("seed %d", *seed)
	const k = 200
	b := newBlock(t, k, 1)
	for _, c := range []struct{ bits, n, counted int }{{4, *draws, 30_000}, {20, *draws / 5, 30_000}} {
		plan := erasure.NewPlan(k, c.bits)
		for _, part := range parts {
			t.Run(fmt.Sprintf("%d bits, %.0f %% withheld", c.bits, 100*part), func(t *testing.T) {
				p := plan.PassProbability(k, int(part*2*k+0.5))
				random := rand.New(rand.NewPCG(*seed, uint64(c.bits)*1000+uint64(100*part)))
				judged := 0
				synctest.Test(t, func(t *testing.T) {
					for range c.n {
						gone := withhold(b, part, random.Uint64())
						draw := random.Perm(2 * k)[:plan.Rows()]
						available := judgeDraw(t, b, c.bits, draw, refuse(b, gone)).State == sampling.Available
						if available != passes(plan, draw, gone) {
							t.Fatalf("available %v, of the rows %v", available, draw)
						}
						if available {
							judged++
						}
					}
				})
				expectCount(t, "judged", judged, c.n, p)

				counted := 0
				gone, order := withhold(b, part, random.Uint64()), random.Perm(2*k)
				for range c.counted {
					for i := range plan.Rows() {
						j := i + random.IntN(2*k-i)
						order[i], order[j] = order[j], order[i]
					}
					if passes(plan, order, gone) {
						counted++
					}
				}
				expectCount(t, "counted", counted, c.counted, p)
			})
		}
	}
}

// Whoever answers only some of the requests for a row cannot do better than
// with those rows always, or never, served: the rows stay the same.
func TestAnsweringSomeRequestsOnlyGainsNothing(t *testing.T) {
	t.Logf("seed %d", *seed)
	const k, bits = 200, 10
	b := newBlock(t, k, 1)
	plan := erasure.NewPlan(k, bits)
	for _, c := range []struct {
		name string
		deny func(row, times int) bool // times is how often the row was asked for: three times a round
	}{
		{"the first round", func(_, times int) bool { return times > 3 }},
		{"the second round", func(_, times int) bool { return times <= 3 }},
		{"the second request", func(_, times int) bool { return times != 2 }},
		{"the last request", func(_, times int) bool { return times < 6 }},
		{"even rows at first, odd ones later", func(row, times int) bool { return (times <= 3) == (row%2 == 1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(*seed, 3))
				for i := range 2 * len(parts) {
					gone := withhold(b, parts[i%len(parts)], random.Uint64())
					draw := random.Perm(2 * k)[:plan.Rows()]
					var mu sync.Mutex
					times := make(map[int]int)
					v := judgeDraw(t, b, bits, draw, func(_ context.Context, r request) error {
						mu.Lock()
						defer mu.Unlock()
						if times[r.row]++; gone[r.row] || c.deny(r.row, times[r.row]) {
							return sampling.ErrNotHeld
						}
						return nil
					})
					if got, want := v.State == sampling.Available, passes(plan, draw, gone); got != want {
						t.Errorf("%v: available %v, want %v as if all requests were answered", v, got, want)
					}
				}
			})
		})
	}
}
