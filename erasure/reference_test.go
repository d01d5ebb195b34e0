package erasure_test

import (
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"granary/erasure"
)

// What follows is a second implementation of docs/spec/block.md: written from
// the text alone, as plainly and slowly as the text reads, and sharing nothing
// with the package but the types it returns.

// refBlock is everything that the specification derives from content.
type refBlock struct {
	rows    [][]byte // 2k: content, then parity
	y       [][]byte // k: the combination of every content row
	content erasure.Root
	parity  erasure.Root
	layers  [2][]erasure.Root
	pieces  int // rows in a piece
	info    []byte
	id      erasure.ID
}

func refCommit(name string, content []byte) refBlock {
	k := (len(content) + 16383) / 16384
	var b refBlock
	for i := range k {
		row := make([]byte, 16384)
		copy(row, content[i*16384:])
		b.rows = append(b.rows, row)
	}
	b.rows = append(b.rows, refParity(b.rows)...)
	return b.describe(name, len(content))
}

// describe fills in what follows from the rows, whatever they are.
func (b refBlock) describe(name string, length int) refBlock {
	k := len(b.rows) / 2
	for b.pieces = 1; (k+b.pieces-1)/b.pieces > 512; {
		b.pieces *= 2
	}
	var leaves []erasure.Root
	for _, row := range b.rows {
		leaves = append(leaves, sha256.Sum256(row))
	}
	width := 1
	for width < k {
		width *= 2
	}
	b.content, b.parity = refTree(leaves[:k], width), refTree(leaves[k:], width)
	b.layers = [2][]erasure.Root{}
	for i := 0; i < k; i += b.pieces {
		end := min(k, i+b.pieces)
		b.layers[0] = append(b.layers[0], refTree(leaves[i:end], b.pieces))
		b.layers[1] = append(b.layers[1], refTree(leaves[k+i:k+end], b.pieces))
	}
	combination := refCoefficients(k, length, b.content, b.parity)
	b.y = nil
	for _, row := range b.rows[:k] {
		b.y = append(b.y, combination.of(row))
	}
	proof := sha256.Sum256(slices.Concat(b.y...))
	file := func(root erasure.Root) any {
		return map[string]any{"": map[string]any{"length": 16384 * k, "pieces root": string(root[:])}}
	}
	b.info = []byte(refBencode(map[string]any{
		"file tree":    map[string]any{name: file(b.content), name + ".parity": file(b.parity)},
		"granary":      map[string]any{"length": length, "proof": string(proof[:]), "v": 1},
		"meta version": 2,
		"name":         name,
		"piece length": 16384 * b.pieces,
	}))
	b.id = sha256.Sum256(b.info)
	return b
}

// refTree is the Merkle root of leaves, padded with zero hashes to width.
func refTree(leaves []erasure.Root, width int) erasure.Root {
	if width == 1 {
		if len(leaves) == 0 {
			return erasure.Root{}
		}
		return leaves[0]
	}
	cut := min(len(leaves), width/2)
	left, right := refTree(leaves[:cut], width/2), refTree(leaves[cut:], width/2)
	return sha256.Sum256(append(left[:], right[:]...))
}

// refPath is the list of siblings of leaf, from the leaf up.
func refPath(leaves []erasure.Root, width, leaf int) []erasure.Root {
	if width == 1 {
		return nil
	}
	cut := min(len(leaves), width/2)
	if leaf < width/2 {
		return append(refPath(leaves[:cut], width/2, leaf), refTree(leaves[cut:], width/2))
	}
	return append(refPath(leaves[cut:], width/2, leaf-width/2), refTree(leaves[:cut], width/2))
}

// refBasis is the list of basis elements in the specification.
var refBasis = []uint16{
	0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012,
	0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8, 0xFB34, 0xFF38, 0x991E,
}

// refTables map coordinates to polynomials over GF(2) and back.
var refTables = sync.OnceValue(func() *struct{ poly, coordinates [1 << 16]uint16 } {
	t := new(struct{ poly, coordinates [1 << 16]uint16 })
	for v := range t.poly {
		for bit, basis := range refBasis {
			if v>>bit&1 == 1 {
				t.poly[v] ^= basis
			}
		}
		t.coordinates[t.poly[v]] = uint16(v)
	}
	return t
})

// refMul multiplies polynomials over GF(2) modulo 0x1002D, bit by bit.
func refMul(a, b uint16) uint16 {
	t := refTables()
	pa, pb, product := uint32(t.poly[a]), t.poly[b], uint32(0)
	for ; pb != 0; pb >>= 1 {
		if pb&1 == 1 {
			product ^= pa
		}
		if pa <<= 1; pa >= 1<<16 {
			pa ^= 0x1002D
		}
	}
	return t.coordinates[product]
}

// refInv is a^(2^16-2).
func refInv(a uint16) uint16 {
	result := uint16(1)
	for range 15 {
		a = refMul(a, a)
		result = refMul(result, a)
	}
	return result
}

func refSymbols(row []byte) []uint16 {
	var symbols []uint16
	for c := 0; c < len(row)/64; c++ {
		for i := range 32 {
			symbols = append(symbols, uint16(row[64*c+i])|uint16(row[64*c+32+i])<<8)
		}
	}
	return symbols
}

func refRow(symbols []uint16) []byte {
	row := make([]byte, 2*len(symbols))
	for s, v := range symbols {
		row[64*(s/32)+s%32], row[64*(s/32)+32+s%32] = byte(v), byte(v>>8)
	}
	return row
}

// refParity multiplies the content rows by the Cauchy matrix.
func refParity(content [][]byte) (parity [][]byte) {
	k, m := len(content), 1
	for m < k {
		m *= 2
	}
	for j := range k {
		sum := make([]uint16, 8192)
		for i, row := range content {
			// The products of one factor by each byte value, low and high.
			factor := refInv(uint16(j ^ (m + i)))
			var low, high [256]uint16
			for bit := range 8 {
				l, h := refMul(factor, 1<<bit), refMul(factor, 1<<(8+bit))
				for v := range 1 << bit {
					low[1<<bit|v], high[1<<bit|v] = low[v]^l, high[v]^h
				}
			}
			for s, v := range refSymbols(row) {
				sum[s] ^= low[v&0xFF] ^ high[v>>8]
			}
		}
		parity = append(parity, refRow(sum))
	}
	return parity
}

// refCombination is one coefficient for every symbol and lane of a row: the
// two levels multiplied out.
type refCombination [8192][8]uint16

// refStream is the output of SHAKE-128 that the coefficients are read from.
func refStream(k, length int, content, parity erasure.Root) []byte {
	seed := []byte("granary/block/v1/combination")
	seed = binary.LittleEndian.AppendUint32(seed, uint32(k))
	seed = binary.LittleEndian.AppendUint64(seed, uint64(length))
	seed = append(append(seed, content[:]...), parity[:]...)
	return sha3.SumSHAKE128(seed, 8192)
}

func refCoefficients(k, length int, content, parity erasure.Root) *refCombination {
	stream := refStream(k, length, content, parity)
	read := func() (table [256][8]uint16) {
		for i := range table {
			for l := range table[i] {
				table[i][l] = binary.LittleEndian.Uint16(stream)
				stream = stream[2:]
			}
		}
		return table
	}
	u := read()
	v := read()
	r := new(refCombination)
	for c := range 256 {
		for t := range 32 {
			for l := range 8 {
				for inner := range 8 {
					r[32*c+t][l] ^= refMul(u[c][inner], v[32*inner+t][l])
				}
			}
		}
	}
	return r
}

func (r *refCombination) of(row []byte) []byte {
	var y [8]uint16
	for s, symbol := range refSymbols(row) {
		for l := range y {
			y[l] ^= refMul(symbol, r[s][l])
		}
	}
	var b []byte
	for _, lane := range y {
		b = binary.LittleEndian.AppendUint16(b, lane)
	}
	return b
}

func refBencode(v any) string {
	switch v := v.(type) {
	case int:
		return fmt.Sprintf("i%de", v)
	case string:
		return fmt.Sprintf("%d:%s", len(v), v)
	case map[string]any:
		var keys []string
		for key := range v {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		s := "d"
		for _, key := range keys {
			s += refBencode(key) + refBencode(v[key])
		}
		return s + "e"
	}
	panic(fmt.Sprintf("bencode %T", v))
}
