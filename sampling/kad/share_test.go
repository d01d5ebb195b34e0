package kad_test

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"granary/sampling"
)

var simVerdicts = flag.Int("sim.verdicts", 0, "verdicts to be made of every fault kind, for the share of right ones")

const (
	shareNetworks = 40 // verdicts of one network; then another one is made
	shareClients  = 5  // clients that make them, one after the other

	// rightShare is what a fault kind is to reach.
	rightShare = 0.999
)

// TestShareOfRightVerdicts makes many tests in many networks of every kind.
func TestShareOfRightVerdicts(t *testing.T) {
	if *simVerdicts == 0 {
		t.Skip("takes hours: go test ./sampling/kad -run TestShareOfRightVerdicts -v -timeout 10h -sim.verdicts 3000")
	}
	blocks := simBlocks(t)
	custody := min(sampling.Groups, max(4, 16*sampling.Groups / *simHosts))
	for _, sc := range slices.Concat(scenarios, conspiracies) {
		t.Run(sc.name, func(t *testing.T) {
			right := sc.right
			if right == nil {
				right = sc.want
			}
			var made, wrong, lies int
			for seed := uint64(1); made < *simVerdicts; seed++ {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, *simHosts, custody, seed, blocks...)
					defer w.close()
					w.shuffle()
					if sc.fault != nil {
						sc.fault(w)
					}
					for i := range shareClients {
						c := w.join(i)
						for range shareNetworks / shareClients {
							o := c.judge(blocks[0], blocks[1])
							made++
							if !slices.Contains(right, o.State) {
								wrong++
								t.Logf("seed %d, client %d: %v, causes %v", seed, i, o.Verdict, causes(o.Verdict))
							}
							if !slices.Contains(sc.want, o.State) {
								lies++
							}
							time.Sleep(simRetry)
						}
						_ = c.Close()
					}
				})
			}
			bound := 1 - upperBound(wrong, made, 0.05)
			t.Logf("%d hosts: %d of %d verdicts right, more than %.3f %% of all with 95 %% confidence", *simHosts, made-wrong, made, 100*bound)
			if lies > 0 {
				t.Errorf("%d verdicts of %d that nobody may come to", lies, made)
			}
			if share := 1 - float64(wrong)/float64(made); share < rightShare {
				t.Errorf("%.4f of the verdicts are right, want %.4f", share, rightShare)
			}
		})
	}
}

// upperBound is that of Clopper and Pearson (1934): the share at which no more
// than failed of n fail with probability alpha.
func upperBound(failed, n int, alpha float64) float64 {
	atMost := func(p float64) float64 {
		sum := 0.0
		for i := range failed + 1 {
			a, _ := math.Lgamma(float64(n + 1))
			b, _ := math.Lgamma(float64(i + 1))
			c, _ := math.Lgamma(float64(n - i + 1))
			sum += math.Exp(a - b - c + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
		}
		return sum
	}
	low, high := float64(failed)/float64(n), 1.0
	if failed == n {
		return 1
	}
	for range 60 {
		if mid := (low + high) / 2; atMost(mid) > alpha {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// The bound has the values of the literature: 3 / n if none of n fails, and the
// tables' for 3 of 100.
func TestTheBoundIsThatOfClopperAndPearson(t *testing.T) {
	for _, c := range []struct {
		failed, n int
		want      float64
	}{{0, 3000, 0.0009981}, {0, 10, 0.2589}, {3, 100, 0.0757}, {5, 5, 1}} {
		if got := upperBound(c.failed, c.n, 0.05); math.Abs(got-c.want) > c.want/1000 {
			t.Errorf("%s: %.6f, want %.6f", fmt.Sprint(c.failed, " of ", c.n), got, c.want)
		}
	}
}
