package erasure_test

import (
	"bytes"
	"crypto/sha256"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"granary/erasure"
)

// equivocal is a block whose publisher wants two contents at once. Its rows
// are those of one code word or of another; both words have as many rows in
// common as two can, and each has a half of the others.
type equivocal struct {
	k      int
	rows   [][]byte    // 2k: what the roots commit to, no code word
	lies   [2][][]byte // 2k each: the two code words
	blocks [2]refBlock // with the proof vector of either, chosen after the coefficients
	layers erasure.Layers
}

func newEquivocal(t *testing.T, k int) equivocal {
	t.Helper()
	length := k * erasure.RowSize
	g, err := erasure.NewGeometry(int64(length))
	if err != nil {
		t.Fatal(err)
	}
	order := rand.New(rand.NewPCG(7, 8)).Perm(2 * k)
	encode := func(content file) (rows [][]byte) {
		_, content, parity := commit(t, content)
		for _, f := range []file{content, parity} {
			for i := range k {
				rows = append(rows, f[i*erasure.RowSize:][:erasure.RowSize])
			}
		}
		return rows
	}
	e := equivocal{k: k}
	e.lies[0] = encode(random(1, length))

	// The difference of the words: k-1 rows of zeros, one of ones, and what
	// these k rows decode to.
	have := make(map[int]bool)
	content, parity := make(file, length), make(file, length)
	for _, row := range order[:k] {
		have[row] = true
	}
	last, in := order[k-1], content
	if last >= k {
		last, in = last-k, parity
	}
	for i := range erasure.RowSize {
		in[last*erasure.RowSize+i] = 1
	}
	src := erasure.Source{Have: func(row int) bool { return have[row] }, Content: content, Parity: parity}
	if err := erasure.Recover(t.Context(), g, src, content, nil); err != nil {
		t.Fatal(err)
	}
	for i, row := range encode(content) {
		other := bytes.Clone(e.lies[0][i])
		for at := range other {
			other[at] ^= row[at]
		}
		e.lies[1] = append(e.lies[1], other)
	}

	e.rows = make([][]byte, 2*k)
	for i, row := range order {
		e.rows[row] = e.lies[i%2][row] // the first k-1 are the same in both
	}
	b := refBlock{rows: e.rows}.describe("a", length)
	e.layers = erasure.Layers{Content: b.layers[0], Parity: b.layers[1]}
	combination := refCoefficients(k, length, b.content, b.parity)
	for i := range e.blocks {
		e.blocks[i] = b
		e.blocks[i].y = nil
		for _, row := range e.lies[i][:k] {
			e.blocks[i].y = append(e.blocks[i].y, combination.of(row))
		}
	}
	return e
}

// opened reports which rows are verified under the proof vector of lie i.
func (e equivocal) opened(t *testing.T, i int) []bool {
	t.Helper()
	b := e.blocks[i]
	proof := bytes.Join(b.y, nil)
	info := erasure.Info{
		Name: "a", Length: int64(e.k * erasure.RowSize),
		Content: b.content, Parity: b.parity, ProofHash: sha256.Sum256(proof),
	}
	v, err := erasure.NewVerifier(info, proof)
	if err != nil {
		t.Fatal(err)
	}
	opened := make([]bool, len(e.rows))
	for row, data := range e.rows {
		path, err := erasure.RowPath(info.Geometry(), e.layers, row, data)
		if err != nil {
			t.Fatal(err)
		}
		opened[row] = v.Row(row, data, path) == nil
	}
	return opened
}

// The best that a publisher can do who wants to be able to say one thing or
// another is to stay one row below the threshold of the theorem with each; and
// clients that sample then accept as often as the plan says, not more.
func TestEquivocationStaysBelowTheThreshold(t *testing.T) {
	const k, confidence, clients = 17, 4, 20000 // odd, so that both halves are equal
	e := newEquivocal(t, k)
	threshold := k + (k+1)/2
	plan := erasure.NewPlan(k, confidence)
	want := plan.PassProbability(k, 2*k-(threshold-1))
	if want > math.Ldexp(1, -confidence) {
		t.Errorf("plan for %d bits passes with probability %v", confidence, want)
	}
	for i, lie := range e.lies {
		opened, count := e.opened(t, i), 0
		for row, ok := range opened {
			if ok {
				count++
			}
			if ok != bytes.Equal(e.rows[row], lie[row]) {
				t.Errorf("proof vector %d: row %d verified: %t", i, row, ok)
			}
		}
		if count != threshold-1 {
			t.Errorf("proof vector %d: %d rows verified, want %d, one below the threshold", i, count, threshold-1)
		}
		accepted := 0
		for range clients {
			rows, err := erasure.Draw(k, plan.Rows())
			if err != nil {
				t.Fatal(err)
			}
			if accepts(plan, rows, opened) {
				accepted++
			}
		}
		got, sigma := float64(accepted)/clients, math.Sqrt(want*(1-want)/clients)
		if math.Abs(got-want) > 6*sigma { // once in 500 million runs by chance
			t.Errorf("proof vector %d: accepted by %.4f of all clients, want %.4f", i, got, want)
		}
	}
}

func accepts(plan erasure.Plan, rows []int, opened []bool) bool {
	for _, s := range plan.Stages {
		bad := 0
		for _, row := range rows[:s.Rows] {
			if !opened[row] {
				bad++
			}
		}
		if bad <= s.Tolerate {
			return true
		}
	}
	return false
}

// tinyCode is the code of docs/spec/block.md over a field so small that every
// case of the theorem can be tried.
type tinyCode struct {
	k, q int
	mul  [][]byte
	sets []tinySet
}

// tinySet is k rows that determine the others.
type tinySet struct {
	mask   uint
	rows   []int
	extend [][]byte // 2k × k: every row from these
}

// newTinyCode is the code of k rows over GF(2)[x]/poly.
func newTinyCode(k, poly int) *tinyCode {
	c := &tinyCode{k: k, q: 1 << (bits.Len(uint(poly)) - 1)}
	inverse := make([]byte, c.q)
	for a := range c.q {
		c.mul = append(c.mul, make([]byte, c.q))
		for b := range c.q {
			product := 0
			for x, y := a, b; y != 0; y >>= 1 {
				if y&1 == 1 {
					product ^= x
				}
				if x <<= 1; x >= c.q {
					x ^= poly
				}
			}
			if c.mul[a][b] = byte(product); product == 1 {
				inverse[a] = byte(b)
			}
		}
	}
	m := 1
	for m < k {
		m *= 2
	}
	for set := range 1 << (2 * k) {
		if bits.OnesCount(uint(set)) != k {
			continue
		}
		s := tinySet{mask: uint(set), extend: make([][]byte, 2*k)}
		for row := range 2 * k {
			s.extend[row] = make([]byte, k)
			if set>>row&1 == 1 {
				s.rows = append(s.rows, row)
			}
		}
		c.sets = append(c.sets, s)
	}
	// Of all code words, those that are 1 in one row of a set and 0 in the
	// others make up its matrix.
	word := make([]byte, 2*k)
	for content := range int(math.Pow(float64(c.q), float64(k))) {
		clear(word)
		for i, rest := 0, content; i < k; i, rest = i+1, rest/c.q {
			word[i] = byte(rest % c.q)
			for j := range k {
				word[k+j] ^= c.mul[inverse[j^(m+i)]][word[i]]
			}
		}
		for _, s := range c.sets {
			ones, unit := 0, true
			for at, row := range s.rows {
				unit = unit && word[row] <= 1
				ones += int(word[row]) << at
			}
			if unit && bits.OnesCount(uint(ones)) == 1 {
				for row := range word {
					s.extend[row][bits.TrailingZeros(uint(ones))] = word[row]
				}
			}
		}
	}
	return c
}

// agreement is the set of rows in which word agrees with the only code word
// that it agrees with in k+⌈k/2⌉ rows or more; none if there is no such word.
func (c *tinyCode) agreement(word [][]byte) (rows uint) {
	for _, s := range c.sets {
		rows = s.mask
		for row := range word {
			if rows>>row&1 == 0 && c.follows(word, s, row) {
				rows |= 1 << row
			}
		}
		if bits.OnesCount(rows) >= c.k+(c.k+1)/2 {
			return rows
		}
	}
	return 0
}

// follows reports whether row of word is what the rows of s make it.
func (c *tinyCode) follows(word [][]byte, s tinySet, row int) bool {
	for column, symbol := range word[row] {
		for at, from := range s.rows {
			symbol ^= c.mul[s.extend[row][at]][word[from][column]]
		}
		if symbol != 0 {
			return false
		}
	}
	return true
}

// combine is the combination of every row of word under the coefficients r.
func (c *tinyCode) combine(word [][]byte, r []byte) [][]byte {
	y := make([][]byte, len(word))
	for row, symbols := range word {
		y[row] = []byte{0}
		for column, symbol := range symbols {
			y[row][0] ^= c.mul[symbol][r[column]]
		}
	}
	return y
}

// fooled reports whether the theorem fails for word under r: some proof vector
// makes k+⌈k/2⌉ rows or more verified, and they are not all of the content
// that word had fixed before.
func (c *tinyCode) fooled(word [][]byte, fixed uint, r []byte) bool {
	return c.agreement(c.combine(word, r))&^fixed != 0
}

// spaces calls f with a basis of every subspace of n symbols, d-dimensional: a
// matrix of d rows in reduced form. f must not keep it.
func (c *tinyCode) spaces(n, d int, f func(basis [][]byte)) {
	for pivots := range 1 << n {
		if bits.OnesCount(uint(pivots)) != d {
			continue
		}
		var (
			basis [][]byte
			free  []*byte
		)
		for p := range n {
			if pivots>>p&1 == 0 {
				continue
			}
			vector := make([]byte, n)
			vector[p] = 1
			for i := p + 1; i < n; i++ {
				if pivots>>i&1 == 0 {
					free = append(free, &vector[i])
				}
			}
			basis = append(basis, vector)
		}
		for {
			f(basis)
			i := 0
			for ; i < len(free); i++ {
				if *free[i]++; int(*free[i]) < c.q {
					break
				}
				*free[i] = 0
			}
			if i == len(free) {
				break
			}
		}
	}
}

// TestTheoremHoldsForEveryMatrixOfATinyCode tries one lane over fields of 16
// to 64 elements, with chunks of one symbol, but rows of any length: adding a
// code word changes nothing, so content rows may be zero; and neither do linear
// maps of columns, so the k parity rows may be in reduced form, which leaves k
// columns at most. Of coefficients only the direction matters, unless they are
// zero.
func TestTheoremHoldsForEveryMatrixOfATinyCode(t *testing.T) {
	for _, field := range []struct{ k, poly int }{{1, 0x13}, {2, 0x25}, {3, 0x43}} {
		c := newTinyCode(field.k, field.poly)
		q, bound := float64(c.q), 4*float64(2*c.k)/float64(c.q)
		worst, matrices := 0.0, 0
		for d := 1; d <= c.k; d++ {
			zero := 1 - (1-1/q)*(1-math.Pow(q, -float64(d))) // either level may give nothing
			c.spaces(c.k, d, func(columns [][]byte) {
				word := make([][]byte, 2*c.k)
				for row := range word {
					word[row] = make([]byte, d)
					for column := range columns {
						if row >= c.k {
							word[row][column] = columns[column][row-c.k]
						}
					}
				}
				fixed := c.agreement(word)
				if !c.fooled(word, fixed, make([]byte, d)) {
					t.Fatalf("k = %d: coefficients of zero show that %v is no code word", c.k, word)
				}
				fooled, all := 0, 0
				c.spaces(d, 1, func(r [][]byte) {
					all++
					if c.fooled(word, fixed, r[0]) {
						fooled++
					}
				})
				matrices++
				p := zero + (1-zero)*float64(fooled)/float64(all)
				worst = max(worst, p)
				if p > bound {
					t.Fatalf("k = %d: fooled by %v with probability %v, more than %v", c.k, word, p, bound)
				}
			})
		}
		t.Logf("k = %d, %d elements: of %d matrices the worst fools with probability %.4f, bound %.4f", c.k, c.q, matrices, worst, bound)
	}
}
