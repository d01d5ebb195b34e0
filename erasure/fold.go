package erasure

import (
	"encoding/binary"
	"math/bits"
)

// foldFactors are the factors of level one of the combination as foldRow takes
// them: by chunk and lane. A product of symbols is linear in the bits of one of
// them, so a factor is a matrix of 16 × 16 bits: four of 8 × 8, as GFNI has
// them, one for each pair of a byte of the symbol and a byte of the product.
//
// The first 64 bytes meet a chunk as it is: low bytes with what they add to low
// bytes, high to high. The second 64 meet it with its halves changed over.
type foldFactors [chunkCount][lanes][2][chunkSize]byte

func (f *logTables) newFoldFactors(u *[chunkCount][lanes]uint16) *foldFactors {
	// A factor's four matrices are the sums of those of its two bytes.
	var matrices [2][256][4]uint64
	for i := range matrices {
		table := &matrices[i]
		for bit := range 8 {
			one := f.matrices(1 << (8*i + bit))
			for low := range 1 << bit {
				for j := range one {
					table[low|1<<bit][j] = table[low][j] ^ one[j]
				}
			}
		}
	}
	t := new(foldFactors)
	for c := range t {
		for l := range t[c] {
			a, b := &matrices[0][byte(u[c][l])], &matrices[1][u[c][l]>>8]
			for i := 0; i < half; i += 8 {
				binary.LittleEndian.PutUint64(t[c][l][0][i:], a[0]^b[0])
				binary.LittleEndian.PutUint64(t[c][l][0][half+i:], a[1]^b[1])
				binary.LittleEndian.PutUint64(t[c][l][1][i:], a[2]^b[2])
				binary.LittleEndian.PutUint64(t[c][l][1][half+i:], a[3]^b[3])
			}
		}
	}
	return t
}

// matrices returns the four matrices of a factor: from low bytes to low, high
// to high, high to low, low to high.
func (f *logTables) matrices(s uint16) [4]uint64 {
	var low, high [2]uint64 // of the products with bits 0–7 and 8–15
	for bit, product := range f.newFactor(s) {
		low[bit/8] |= (product & 0xFF) << (8 * (bit % 8))
		high[bit/8] |= (product >> 8) << (8 * (bit % 8))
	}
	return [4]uint64{bitMatrix(low[0]), bitMatrix(high[1]), bitMatrix(low[1]), bitMatrix(high[0])}
}

// bitMatrix returns the matrix whose column i is byte i of columns: one byte
// for each of its rows, the lowest row in the highest byte.
func bitMatrix(columns uint64) uint64 {
	// Transpose blocks of 1, 2 and 4 bits in every two rows.
	x := columns
	t := (x ^ x>>7) & 0x00AA00AA00AA00AA
	x ^= t ^ t<<7
	t = (x ^ x>>14) & 0x0000CCCC0000CCCC
	x ^= t ^ t<<14
	t = (x ^ x>>28) & 0x00000000F0F0F0F0
	x ^= t ^ t<<28
	return bits.ReverseBytes64(x)
}
