package erasure

import "sync"

// cantor maps coordinates to the polynomial basis of GF(2^16) = GF(2)[x] /
// (x^16 + x^5 + x^3 + x^2 + 1): a symbol stands for the sum of the basis
// elements whose bits it has set. The basis is Cantor's, as Leopard uses it:
// cantor[0] = 1 and cantor[i]² + cantor[i] = cantor[i-1], which makes the
// vanishing polynomials of its subspaces mere shifts (see extend).
var cantor = [16]uint16{
	0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012,
	0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8, 0xFB34, 0xFF38, 0x991E,
}

const (
	fieldPoly  = 0x1002D // primitive, so x generates the multiplicative group
	fieldOrder = 1<<16 - 1
)

// logTables multiply symbols in Cantor coordinates: addition is XOR. They are
// our own, 384 KiB, so that a light client never pays for the 74 MiB of tables
// that the code's library makes on first use.
type logTables struct {
	log [1 << 16]uint16        // log[0] is unused
	exp [2 * fieldOrder]uint16 // twice the period: a sum of two logarithms needs no reduction
}

// field is computed once and constant afterwards.
var field = sync.OnceValue(func() *logTables {
	var power [1 << 16]uint16 // polynomial basis → exponent of x
	for i, p := 0, 1; i < fieldOrder; i++ {
		power[p] = uint16(i)
		p <<= 1
		if p > fieldOrder {
			p ^= fieldPoly
		}
	}
	f := new(logTables)
	var poly [1 << 16]uint16 // coordinates → polynomial basis
	for bit, basis := range cantor {
		for low := range 1 << bit {
			poly[low|1<<bit] = poly[low] ^ basis
		}
	}
	for v := 1; v <= fieldOrder; v++ {
		e := power[poly[v]]
		f.log[v] = e
		f.exp[e] = uint16(v)
		f.exp[int(e)+fieldOrder] = uint16(v)
	}
	return f
})

func (f *logTables) mul(a, b uint16) uint16 {
	if a == 0 || b == 0 {
		return 0
	}
	return f.exp[int(f.log[a])+int(f.log[b])]
}

// inv returns 1/a; a is not zero.
func (f *logTables) inv(a uint16) uint16 { return f.exp[fieldOrder-int(f.log[a])] }

// element is eight lanes of GF(2^16): lane l is bits 16(l mod 4) and up of
// word l/4. The lanes never mix; together they stand for GF(2^128) wherever
// only addition and multiplication by a symbol are needed.
type element [2]uint64

func (e element) lane(l int) uint16 { return uint16(e[l/4] >> (16 * (l % 4))) }

func (e *element) setLane(l int, s uint16) {
	shift := 16 * (l % 4)
	e[l/4] = e[l/4]&^(0xFFFF<<shift) | uint64(s)<<shift
}

func (e *element) add(o element) {
	e[0] ^= o[0]
	e[1] ^= o[1]
}

// scale returns s·e, s not zero and given by its logarithm.
func (f *logTables) scale(logS int, e element) element {
	var r element
	for w, word := range e {
		for shift := 0; shift < 64; shift += 16 {
			if s := uint16(word >> shift); s != 0 {
				r[w] |= uint64(f.exp[int(f.log[s])+logS]) << shift
			}
		}
	}
	return r
}

// products multiplies one element by any symbol: four lookups by nibble.
type products [4][16]element

// newProducts returns the table of e.
func (f *logTables) newProducts(e element) (p products) {
	for nibble := range p {
		for bit := range 4 {
			basis := f.scale(int(f.log[1<<(4*nibble+bit)]), e)
			for low := range 1 << bit {
				p[nibble][low|1<<bit] = p[nibble][low]
				p[nibble][low|1<<bit].add(basis)
			}
		}
	}
	return p
}

// addTo adds s times the table's element to sum.
func (p *products) addTo(sum *element, s uint16) {
	a, b, c, d := &p[0][s&15], &p[1][s>>4&15], &p[2][s>>8&15], &p[3][s>>12]
	sum[0] ^= a[0] ^ b[0] ^ c[0] ^ d[0]
	sum[1] ^= a[1] ^ b[1] ^ c[1] ^ d[1]
}

// extend returns Enc(y), 2k elements: y and its k parity elements.
//
// Row i of the content is the value of a polynomial of degree below m at the
// point m+i, row j of the parity its value at j, with m = ceilPow2(k) and the
// points read as coordinates. Both transforms are the additive FFT of Lin,
// Chung and Han (2014); in Cantor's basis the normalised vanishing polynomial
// of the first 2^d points is v ↦ v >> d, so the twiddle factors need no table.
func (f *logTables) extend(y []element) []element {
	k := len(y)
	m := ceilPow2(k)
	work := make([]element, m)
	copy(work, y)
	for dist := 1; dist < m; dist *= 2 { // values at m… → coefficients
		for r := 0; r < m; r += 2 * dist {
			f.butterflies(work[r:r+2*dist], (m+r)/dist, true)
		}
	}
	for dist := m / 2; dist > 0; dist /= 2 { // coefficients → values at 0…
		for r := 0; r < m; r += 2 * dist {
			f.butterflies(work[r:r+2*dist], r/dist, false)
		}
	}
	return append(append(make([]element, 0, 2*k), y...), work[:k]...)
}

// butterflies combines the halves of block in place.
func (f *logTables) butterflies(block []element, twiddle int, inverse bool) {
	lo, hi := block[:len(block)/2], block[len(block)/2:]
	logT := int(f.log[twiddle])
	for i := range lo {
		if inverse {
			hi[i].add(lo[i])
		}
		if twiddle != 0 {
			lo[i].add(f.scale(logT, hi[i]))
		}
		if !inverse {
			hi[i].add(lo[i])
		}
	}
}
