package erasure

import (
	"crypto/rand"
	"fmt"
	"math"
	"math/big"
)

// MaxBits is the most confidence that a plan can give: what sampling adds
// beyond it would be lost in the soundness of the proof vector.
const MaxBits = 100

// Stage is one way for a sampling test to pass: of the first Rows rows drawn
// at most Tolerate are missing.
type Stage struct{ Rows, Tolerate int }

// Plan is a sampling test. Its stages draw on one sequence of rows: the test
// passes as soon as one stage does, and has failed when the last one has.
type Plan struct {
	Stages []Stage

	// Decode says that the block is too small to sample: there are no stages,
	// and any k verified rows decide.
	Decode bool
}

// Rows is the number of rows that the whole plan draws.
func (p Plan) Rows() int {
	if len(p.Stages) == 0 {
		return 0
	}
	return p.Stages[len(p.Stages)-1].Rows
}

// badRows is the number of rows that at least cannot be opened verified when
// no content is fixed: fewer than k + ceil(k/2) of the 2k can.
func badRows(k int) int { return k/2 + 1 }

// NewPlan returns the test for blocks of k content rows that a block of which
// fewer than 75 % of the rows can be had and verified passes with probability
// at most 2^-bits, 1 ≤ bits ≤ MaxBits.
//
// The plan has two stages that share this budget. The first tolerates nothing
// and takes half of it; the second draws 6.4 rows per bit and tolerates what
// the rest allows, so that a few dead peers do not fail a good block. For 20
// bits and large k that is 51 rows, or 128 of which 10 may be missing. Where
// the second would draw every row the plan says Decode. Other values of k or
// bits are a bug of the caller, and panic.
func NewPlan(k, bits int) Plan {
	if k < 1 || k > MaxContentRows || bits < 1 || bits > MaxBits {
		panic(fmt.Sprintf("BUG: plan for %d rows, %d bits", k, bits))
	}
	rows := (32*bits + 4) / 5
	if 2*k <= rows {
		return Plan{Decode: true}
	}
	// Logarithms of factorials carry an error below one part in 10^9.
	budget := math.Ldexp(1-1e-9, -bits)
	first := Stage{Rows: 1}
	for first.Rows < rows && stagePass(k, badRows(k), first) > budget/2 {
		first.Rows++
	}
	p := Plan{Stages: []Stage{first}}
	for tolerate := 0; ; tolerate++ {
		next := Plan{Stages: []Stage{first, {Rows: rows, Tolerate: tolerate}}}
		if next.PassProbability(k, badRows(k)) > budget {
			return p
		}
		p = next
	}
}

func stagePass(k, bad int, s Stage) float64 {
	return Plan{Stages: []Stage{s}}.PassProbability(k, bad)
}

// PassProbability returns the probability that the test passes when bad of the
// 2k rows are missing. It is exact but for rounding: rows are drawn without
// replacement. A plan that says Decode passes exactly if k rows are there.
func (p Plan) PassProbability(k, bad int) float64 {
	if p.Decode {
		if bad <= k {
			return 1
		}
		return 0
	}
	return min(1, passFrom(p.Stages, 0, 0, 2*k, bad))
}

// passFrom returns the probability that one of stages passes, after drawn rows
// of which missing were bad, while total rows are left of which bad are bad.
func passFrom(stages []Stage, drawn, missing, total, bad int) float64 {
	if len(stages) == 0 {
		return 0
	}
	n := stages[0].Rows - drawn
	sum := 0.0
	for j := max(0, n-(total-bad)); j <= min(n, bad); j++ {
		p := math.Exp(lnChoose(bad, j) + lnChoose(total-bad, n-j) - lnChoose(total, n))
		if missing+j > stages[0].Tolerate {
			if missing+j > stages[len(stages)-1].Tolerate {
				break // no later stage tolerates more
			}
			p *= passFrom(stages[1:], stages[0].Rows, missing+j, total-n, bad-j)
		}
		sum += p
	}
	return sum
}

// lnChoose returns the natural logarithm of n choose r, 0 ≤ r ≤ n.
func lnChoose(n, r int) float64 { return lnFactorial(n) - lnFactorial(r) - lnFactorial(n-r) }

func lnFactorial(n int) float64 {
	ln, _ := math.Lgamma(float64(n) + 1)
	return ln
}

// Draw returns n distinct rows of a block of k content rows, 0 ≤ n ≤ 2k, in
// random order, each order as likely as any other. The randomness is the
// system's: rows that a publisher could foresee would prove nothing.
func Draw(k, n int) ([]int, error) {
	if k < 1 || n < 0 || n > 2*k {
		return nil, fmt.Errorf("draw %d of %d rows", n, 2*k)
	}
	// The first n steps of a shuffle of all rows; moved holds those that are
	// not in their own place.
	moved := make(map[int]int, n)
	at := func(i int) int {
		if row, ok := moved[i]; ok {
			return row
		}
		return i
	}
	rows := make([]int, n)
	for i := range rows {
		j, err := rand.Int(rand.Reader, big.NewInt(int64(2*k-i)))
		if err != nil {
			return nil, fmt.Errorf("draw rows: %w", err)
		}
		pick := i + int(j.Int64())
		rows[i] = at(pick)
		moved[pick] = at(i)
	}
	return rows, nil
}
