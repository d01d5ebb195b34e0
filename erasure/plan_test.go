package erasure_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"granary/erasure"
)

// exactPass is the same probability counted in whole numbers: of all ways to
// draw the first and then the remaining rows of a plan of two stages.
func exactPass(p erasure.Plan, k, bad int) *big.Rat {
	choose := func(n, r int) *big.Int {
		if r < 0 || r > n {
			return new(big.Int)
		}
		return new(big.Int).Binomial(int64(n), int64(r))
	}
	a, b := p.Stages[0], p.Stages[1]
	more, good := b.Rows-a.Rows, 2*k-bad
	ways := new(big.Int)
	for j := 0; j <= a.Rows; j++ {
		first := new(big.Int).Mul(choose(bad, j), choose(good, a.Rows-j))
		second := new(big.Int)
		if j <= a.Tolerate {
			second = choose(2*k-a.Rows, more)
		} else {
			for i := 0; i <= b.Tolerate-j; i++ {
				second.Add(second, new(big.Int).Mul(choose(bad-j, i), choose(good-(a.Rows-j), more-i)))
			}
		}
		ways.Add(ways, first.Mul(first, second))
	}
	return new(big.Rat).SetFrac(ways, new(big.Int).Mul(choose(2*k, a.Rows), choose(2*k-a.Rows, more)))
}

func TestPlanKeepsItsPromiseExactly(t *testing.T) {
	for _, bits := range []int{1, 10, 20, 40, 80} {
		for _, k := range []int{65, 66, 67, 100, 128, 129, 200, 257, 300, 1000, 4096, 16384} {
			p := erasure.NewPlan(k, bits)
			if p.Decode || len(p.Stages) == 1 {
				continue
			}
			bad := k/2 + 1 // one more and fewer than k + ceil(k/2) rows are left
			exact := exactPass(p, k, bad)
			limit := new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), uint(bits)))
			if exact.Cmp(limit) > 0 {
				t.Errorf("k = %d, %d bits: %+v passes with %v", k, bits, p, exact)
			}
			want, _ := exact.Float64()
			if got := p.PassProbability(k, bad); math.Abs(got/want-1) > 1e-8 {
				t.Errorf("k = %d, %d bits: probability %v, want %v", k, bits, got, want)
			}
			more := erasure.Plan{Stages: []erasure.Stage{p.Stages[0], {Rows: p.Rows(), Tolerate: p.Stages[1].Tolerate + 1}}}
			if exactPass(more, k, bad).Cmp(limit) <= 0 {
				t.Errorf("k = %d, %d bits: %+v could tolerate more", k, bits, p)
			}
		}
	}
}

func TestPlanOfTheDesign(t *testing.T) {
	for _, k := range []int{4096, 8192, 16384} {
		if got := fmt.Sprint(erasure.NewPlan(k, 20)); got != "{[{51 0} {128 10}] false}" {
			t.Errorf("k = %d: plan %v", k, got)
		}
	}
	for _, k := range []int{1, 2, 63, 64} {
		if p := erasure.NewPlan(k, 20); !p.Decode || len(p.Stages) != 0 || p.Rows() != 0 {
			t.Errorf("k = %d: plan %+v, want to decode", k, p)
		}
	}
	if p := erasure.NewPlan(65, 20); p.Decode || p.Rows() != 128 {
		t.Errorf("k = 65: plan %+v", p)
	}
	small := erasure.Plan{Decode: true}
	if small.PassProbability(10, 10) != 1 || small.PassProbability(10, 11) != 0 {
		t.Error("a block decodes from k rows and from no fewer")
	}
}

func TestGoodBlocksPass(t *testing.T) {
	for _, k := range []int{65, 100, 1000, 16384} {
		p := erasure.NewPlan(k, 20)
		if got := p.PassProbability(k, 0); math.Abs(got-1) > 1e-9 {
			t.Errorf("k = %d: a whole block passes with %v", k, got)
		}
		if got := p.PassProbability(k, 2*k/50); got < 0.99 {
			t.Errorf("k = %d: a block with 2 %% of its rows missing passes with %v", k, got)
		}
		last := 1.0
		for bad := 0; bad <= k; bad += max(1, k/50) {
			got := p.PassProbability(k, bad)
			if got > last*(1+1e-9) {
				t.Errorf("k = %d: %d missing rows pass more easily than fewer", k, bad)
			}
			last = got
		}
		if got := p.PassProbability(k, 2*k); got != 0 {
			t.Errorf("k = %d: nothing passes with %v", k, got)
		}
	}
}

// Simulate the test where its outcome is far from certain.
func TestPassProbabilityIsTheFrequency(t *testing.T) {
	const k, bad, rounds = 200, 30, 20000
	p := erasure.NewPlan(k, 20)
	draw := rand.New(rand.NewPCG(8, 9))
	passed := 0
	for range rounds {
		rows := draw.Perm(2 * k)
		missing, n := 0, 0
		for _, s := range p.Stages {
			for ; n < s.Rows; n++ {
				if rows[n] < bad {
					missing++
				}
			}
			if missing <= s.Tolerate {
				passed++
				break
			}
		}
	}
	want := p.PassProbability(k, bad)
	sigma := math.Sqrt(want * (1 - want) / rounds)
	if got := float64(passed) / rounds; math.Abs(got-want) > 5*sigma {
		t.Errorf("passed %v of the rounds, want %v ± %v", got, want, sigma)
	}
}

func TestDrawIsUniformWithoutReplacement(t *testing.T) {
	const k, n, rounds = 5, 4, 20000
	var seen [2 * k]int
	var first [2 * k]int
	for range rounds {
		rows, err := erasure.Draw(k, n)
		if err != nil {
			t.Fatal(err)
		}
		distinct := make(map[int]bool)
		for _, row := range rows {
			distinct[row] = true
			seen[row]++
		}
		first[rows[0]]++
		if len(rows) != n || len(distinct) != n {
			t.Fatalf("drew %v", rows)
		}
	}
	for row := range seen {
		for _, c := range []struct {
			got int
			p   float64
		}{{seen[row], float64(n) / (2 * k)}, {first[row], 1.0 / (2 * k)}} {
			if sigma := math.Sqrt(rounds * c.p * (1 - c.p)); math.Abs(float64(c.got)-rounds*c.p) > 6*sigma {
				t.Errorf("row %d drawn %d times, want %v ± %v", row, c.got, rounds*c.p, sigma)
			}
		}
	}
	all, err := erasure.Draw(k, 2*k)
	if err != nil || len(all) != 2*k {
		t.Errorf("all rows: %v, %v", all, err)
	}
	for _, n := range []int{-1, 2*k + 1} {
		if _, err := erasure.Draw(k, n); err == nil {
			t.Errorf("drew %d of %d rows", n, 2*k)
		}
	}
}
