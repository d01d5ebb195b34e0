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
	t := new(foldFactors)
	for c := range t {
		for l := range t[c] {
			var low, high [2]uint64 // of the products of u with bits 0–7 and 8–15
			for bit := range 16 {
				product := f.mul(u[c][l], 1<<bit)
				low[bit/8] |= uint64(product&0xFF) << (8 * (bit % 8))
				high[bit/8] |= uint64(product>>8) << (8 * (bit % 8))
			}
			straight, across := &t[c][l][0], &t[c][l][1]
			for i := 0; i < half; i += 8 {
				binary.LittleEndian.PutUint64(straight[i:], bitMatrix(low[0]))
				binary.LittleEndian.PutUint64(straight[half+i:], bitMatrix(high[1]))
				binary.LittleEndian.PutUint64(across[i:], bitMatrix(low[1]))
				binary.LittleEndian.PutUint64(across[half+i:], bitMatrix(high[0]))
			}
		}
	}
	return t
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
