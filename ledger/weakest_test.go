package ledger_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"granary/erasure"
	"granary/ledger"
)

// searchEnv says for how many networks TestAnyThirdOfThePowerHoldsKRows searches:
// 1 unless set. 20 take a minute.
const searchEnv = "GRANARY_TEST_ROUNDS"

// exactly is up to how many validators the weakest third is found by going through
// all; beyond, by search.
const exactly = 19

// TestAnyThirdOfThePowerHoldsKRows looks for validators who have a third of the
// power and hold fewer than k rows. With few validators it goes through all
// coalitions; with many it begins with each in turn, adds whoever brings the
// fewest new rows for their power, and then exchanges members for as long as that
// helps. What it finds is what somebody finds who may choose whom to corrupt.
func TestAnyThirdOfThePowerHoldsKRows(t *testing.T) {
	networks, starts := 1, 4
	if s := os.Getenv(searchEnv); s != "" {
		var err error
		if networks, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
		starts = 100
	}
	rng := rand.New(rand.NewPCG(1, 2))
	closest, where := 2.0, ""
	all, hits := 0, 0
	for network := range networks {
		chain := fmt.Sprint(testChain, network)
		for _, shape := range []string{"equal", "zipf", "one large"} {
			for _, n := range []int{4, 7, 10, 16, exactly, 40, 67, 100} {
				for _, k := range []int{256, 257, 513, 16384} {
					set, g := validators(powersOf(shape, n)...), geometry(t, k)
					s := newCoalitions(chain, set, g)
					least := s.search(rng, starts)
					if n <= exactly {
						truth := s.exact(least)
						if all++; truth == least {
							hits++
						}
						least = truth
					}
					if what := fmt.Sprintf("network %d, %s, %d validators, k %d", network, shape, n, k); least < g.K() {
						t.Errorf("%s: a third of the power holds %d rows", what, least)
					} else if r := float64(least) / float64(g.K()); r < closest {
						closest, where = r, what
					}
				}
			}
		}
	}
	t.Logf("the weakest third found holds %.3f × k rows: %s", closest, where)
	t.Logf("the search finds the weakest of all in %d of %d small sets", hits, all)
}

// coalitions are sets of validators and the rows that they hold together.
type coalitions struct {
	set    []ledger.Validator
	total  int64
	pieces [][]int // of each validator
	rows   []int   // of each piece

	in     []bool
	power  int64
	count  []int // of each piece, how many members hold it
	united int   // rows that members hold
}

func newCoalitions(chain string, set []ledger.Validator, g erasure.Geometry) *coalitions {
	c := &coalitions{
		set: set, total: ledger.Power(set), pieces: make([][]int, len(set)), rows: make([]int, g.Pieces()),
		in: make([]bool, len(set)), count: make([]int, g.Pieces()),
	}
	for v := range set {
		for p := range ledger.Share(chain, set, v, g).All() {
			c.pieces[v] = append(c.pieces[v], p)
		}
	}
	for p := range c.rows {
		one := erasure.NewPieceSet(g.Pieces())
		one.Add(p)
		c.rows[p] = g.RowsIn(one)
	}
	return c
}

func (c *coalitions) join(v int) {
	c.in[v] = true
	c.power += c.set[v].Power
	for _, p := range c.pieces[v] {
		if c.count[p]++; c.count[p] == 1 {
			c.united += c.rows[p]
		}
	}
}

func (c *coalitions) leave(v int) {
	c.in[v] = false
	c.power -= c.set[v].Power
	for _, p := range c.pieces[v] {
		if c.count[p]--; c.count[p] == 0 {
			c.united -= c.rows[p]
		}
	}
}

func (c *coalitions) third() bool { return 3*c.power >= c.total }

// brings is how many rows v would add.
func (c *coalitions) brings(v int) (rows int) {
	for _, p := range c.pieces[v] {
		if c.count[p] == 0 {
			rows += c.rows[p]
		}
	}
	return rows
}

// search returns the fewest rows of a third that it finds, beginning with some
// validators in turn.
func (c *coalitions) search(rng *rand.Rand, starts int) int {
	least := math.MaxInt
	for _, first := range rng.Perm(len(c.set))[:min(starts, len(c.set))] {
		for v, in := range c.in {
			if in {
				c.leave(v)
			}
		}
		c.join(first)
		for !c.third() {
			c.join(c.cheapest(rng))
		}
		for c.improve() {
		}
		least = min(least, c.united)
	}
	return least
}

// cheapest is who brings the fewest rows for the power.
func (c *coalitions) cheapest(rng *rand.Rand) int {
	best, bestCost := -1, 0.0
	for v, in := range c.in {
		if in {
			continue
		}
		cost := float64(c.brings(v)) / float64(c.set[v].Power) * (1 + rng.Float64()/100)
		if best < 0 || cost < bestCost {
			best, bestCost = v, cost
		}
	}
	return best
}

// improve makes the best change that leaves fewer rows: a member goes, or is
// exchanged for another.
func (c *coalitions) improve() bool {
	now, least := c.united, c.united
	goes, comes := -1, -1
	for v := range c.set {
		if !c.in[v] {
			continue
		}
		c.leave(v)
		if c.third() && c.united < least {
			least, goes, comes = c.united, v, -1
		}
		for w := range c.set {
			if c.in[w] || w == v || 3*(c.power+c.set[w].Power) < c.total {
				continue
			}
			if rows := c.united + c.brings(w); rows < least {
				least, goes, comes = rows, v, w
			}
		}
		c.join(v)
	}
	if least == now {
		return false
	}
	c.leave(goes)
	if comes >= 0 {
		c.join(comes)
	}
	return true
}

// exact returns the fewest rows of any third, which are at most least.
func (c *coalitions) exact(least int) int {
	for v, in := range c.in {
		if in {
			c.leave(v)
		}
	}
	rest := make([]int64, len(c.set)+1) // power from number v on
	for v := len(c.set) - 1; v >= 0; v-- {
		rest[v] = rest[v+1] + c.set[v].Power
	}
	var from func(v int)
	from = func(v int) {
		switch {
		case c.united >= least || 3*(c.power+rest[v]) < c.total:
		case c.third():
			least = c.united
		case v < len(c.set):
			c.join(v)
			from(v + 1)
			c.leave(v)
			from(v + 1)
		}
	}
	from(0)
	return least
}

// TestBoundOfTheSpecification recomputes the probability that section 6 of
// docs/spec/ledger.md states: that of three random shuffles a third of the places
// cover too few of Q pieces, times the number of sets of validators none of which
// contains another, of 100 at most C(100, 50).
func TestBoundOfTheSpecification(t *testing.T) {
	l := newLogs(1024)
	worst, where := math.Inf(-1), 0
	for q := 512; q <= 1024; q += 2 {
		need := q / 2
		if q > 512 {
			need++ // the last piece of each file can be short by all but a row
		}
		if p := l.tooFew(q, (q+2)/3, need) + l.choose(100, 50); p > worst {
			worst, where = p, q
		}
	}
	worst /= math.Ln2
	t.Logf("2^%.2f at %d pieces", worst, where)
	if worst > -117 {
		t.Errorf("2^%.2f at %d pieces, the specification says below 2^-117", worst, where)
	}
}

// tooFew is the logarithm of the probability that three random sets of m of q
// pieces have fewer than need together.
func (l logs) tooFew(q, m, need int) float64 {
	united := map[int]float64{m: 0}
	for range 2 {
		next := make(map[int]float64)
		for u, p := range united {
			for added := max(0, m-u); added <= min(m, q-u); added++ {
				term := p + l.choose(q-u, added) + l.choose(u, m-added) - l.choose(q, m)
				if before, ok := next[u+added]; ok {
					term = logSum(before, term)
				}
				next[u+added] = term
			}
		}
		united = next
	}
	sum := math.Inf(-1)
	for u, p := range united {
		if u < need {
			sum = logSum(sum, p)
		}
	}
	return sum
}

func logSum(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	return a + math.Log1p(math.Exp(b-a))
}

// logs are logarithms of factorials.
type logs []float64

func newLogs(most int) logs {
	l := make(logs, most+1)
	for n := 1; n <= most; n++ {
		l[n] = l[n-1] + math.Log(float64(n))
	}
	return l
}

func (l logs) choose(n, k int) float64 { return l[n] - l[k] - l[n-k] }
