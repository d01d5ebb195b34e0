package erasure

import "math/bits"

// factor multiplies elements by one symbol. It holds the products of that symbol
// with every basis element, the first of which is 1.
type factor [16]uint64

// newFactor returns the factor of s.
func (f *logTables) newFactor(s uint16) (t factor) {
	if s == 0 {
		return t
	}
	logS := int(f.log[s])
	for bit := range t {
		t[bit] = uint64(f.exp[logS+int(f.basis[bit])])
	}
	return t
}

// add makes t the factor of the sum of both symbols.
func (t *factor) add(o *factor) {
	for bit := range t {
		t[bit] ^= o[bit]
	}
}

// times returns the factor's symbol times the four lanes of w: for every bit
// of a symbol, the lanes that have it times what it stands for. A lane is 0 or 1
// there and the other number below 2^16, so nothing carries.
func (t *factor) times(w uint64) uint64 {
	const ones = 0x0001_0001_0001_0001
	return (w&ones)*t[0] ^ (w>>1&ones)*t[1] ^ (w>>2&ones)*t[2] ^ (w>>3&ones)*t[3] ^
		(w>>4&ones)*t[4] ^ (w>>5&ones)*t[5] ^ (w>>6&ones)*t[6] ^ (w>>7&ones)*t[7] ^
		(w>>8&ones)*t[8] ^ (w>>9&ones)*t[9] ^ (w>>10&ones)*t[10] ^ (w>>11&ones)*t[11] ^
		(w>>12&ones)*t[12] ^ (w>>13&ones)*t[13] ^ (w>>14&ones)*t[14] ^ (w>>15&ones)*t[15]
}

// byteFactor is a factor with a table for each byte of a symbol: three times as
// fast, and worth its making for minUses elements and more.
type byteFactor [2][256]uint64

const minUses = 32

// set makes b the factor t.
func (b *byteFactor) set(t *factor) {
	for half := range b {
		table := &b[half]
		table[0] = 0
		for bit := range 8 {
			for low := range 1 << bit {
				table[low|1<<bit] = table[low] ^ t[8*half+bit]
			}
		}
	}
}

// times is that of factor.
func (b *byteFactor) times(w uint64) uint64 {
	return (b[0][byte(w)] ^ b[1][byte(w>>8)]) |
		(b[0][byte(w>>16)]^b[1][byte(w>>24)])<<16 |
		(b[0][byte(w>>32)]^b[1][byte(w>>40)])<<32 |
		(b[0][byte(w>>48)]^b[1][byte(w>>56)])<<48
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
		f.layer(work, dist, m/dist, true)
	}
	for dist := m / 2; dist > 0; dist /= 2 { // coefficients → values at 0…
		f.layer(work, dist, 0, false)
	}
	return append(append(make([]element, 0, 2*k), y...), work[:k]...)
}

// layer combines the halves of each block of 2·dist elements in place; block b
// has the twiddle factor first+2b.
func (f *logTables) layer(work []element, dist, first int, inverse bool) {
	// From one block to the next the lowest bits of b change, up to the lowest
	// that was zero: there are as many steps as b has bits.
	var steps [16]factor
	blocks := len(work) / (2 * dist)
	for bit := range bits.Len(uint(blocks - 1)) {
		steps[bit] = f.newFactor(uint16(1<<(bit+2) - 2))
	}
	twiddle, byBytes := f.newFactor(uint16(first)), new(byteFactor)
	for b := range blocks {
		if b > 0 {
			twiddle.add(&steps[bits.TrailingZeros(uint(b))])
		}
		lo, hi := work[2*dist*b:][:dist], work[2*dist*b+dist:][:dist]
		if inverse {
			addAll(hi, lo)
		}
		switch {
		case twiddle[0] == 0: // times zero
		case dist >= minUses:
			byBytes.set(&twiddle)
			for i := range lo {
				lo[i][0] ^= byBytes.times(hi[i][0])
				lo[i][1] ^= byBytes.times(hi[i][1])
			}
		default:
			for i := range lo {
				lo[i][0] ^= twiddle.times(hi[i][0])
				lo[i][1] ^= twiddle.times(hi[i][1])
			}
		}
		if !inverse {
			addAll(hi, lo)
		}
	}
}

func addAll(sum, of []element) {
	for i := range sum {
		sum[i][0] ^= of[i][0]
		sum[i][1] ^= of[i][1]
	}
}
