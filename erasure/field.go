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
	log   [1 << 16]uint16        // log[0] is unused
	exp   [2 * fieldOrder]uint16 // twice the period: a sum of two logarithms needs no reduction
	basis [16]uint16             // log[1<<bit]
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
	for bit := range f.basis {
		f.basis[bit] = f.log[1<<bit]
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

// products multiplies one element by any symbol: four lookups by nibble.
type products [4][16]element

// setProducts makes every table that of the element with its number.
func (f *logTables) setProducts(tables []products, of []element) {
	basis := new(byteFactor)
	for bit := range 16 {
		t := f.newFactor(1 << bit)
		basis.set(&t)
		for i, e := range of {
			tables[i][bit/4][1<<(bit%4)] = element{basis.times(e[0]), basis.times(e[1])}
		}
	}
	for i := range tables {
		for nibble := range tables[i] {
			t := &tables[i][nibble]
			for v := range t {
				one, others := v&-v, v&(v-1)
				if others != 0 {
					t[v] = element{t[one][0] ^ t[others][0], t[one][1] ^ t[others][1]}
				}
			}
		}
	}
}

// addTo adds the table's element times the symbol of these two bytes to sum.
func (p *products) addTo(sum *element, low, high byte) {
	a, b, c, d := &p[0][low&15], &p[1][low>>4], &p[2][high&15], &p[3][high>>4]
	sum[0] ^= a[0] ^ b[0] ^ c[0] ^ d[0]
	sum[1] ^= a[1] ^ b[1] ^ c[1] ^ d[1]
}
