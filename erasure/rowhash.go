package erasure

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

const (
	// groupRows is how many rows are hashed side by side: the 32-bit words in
	// a register of AVX-512.
	groupRows = 16

	// laneRows is from how many rows on that pays: sixteen at once take as long
	// as the standard library's SHA-256, with the processor's instructions for
	// it, takes for seven.
	laneRows = 8
)

// rowGroup makes the leaf hashes of up to groupRows rows, whose bytes come in
// bands of columns.
type rowGroup struct {
	plain  []hash.Hash // one per row; nil where the rows are hashed side by side
	n      int
	states [8][groupRows]uint32
}

// newRowGroup returns the group of n rows, 1 ≤ n ≤ groupRows.
func newRowGroup(n int) *rowGroup {
	g := &rowGroup{n: n}
	if hasHashLanes && n >= laneRows {
		for word := range g.states {
			for lane := range g.states[word] {
				g.states[word][lane] = sha256Start[word]
			}
		}
		return g
	}
	for range n {
		g.plain = append(g.plain, sha256.New())
	}
	return g
}

// newRowGroups returns the groups of rows rows, the last of which may be short.
func newRowGroups(rows int) (groups []*rowGroup) {
	for ; rows > 0; rows -= groupRows {
		groups = append(groups, newRowGroup(min(rows, groupRows)))
	}
	return groups
}

// write continues every row of the group by as many bytes, a multiple of 64.
func (g *rowGroup) write(rows [][]byte) {
	for i, h := range g.plain {
		h.Write(rows[i])
	}
	if g.plain == nil {
		var side [groupRows][]byte
		for lane := range side {
			side[lane] = rows[min(lane, g.n-1)] // what is left over hashes the last row again
		}
		hashLanes(&g.states, &side, len(rows[0])/sha256.BlockSize, &sha256Constants)
	}
}

// sums appends the hashes to dst, once size bytes of every row are written.
func (g *rowGroup) sums(dst []Root, size uint64) []Root {
	for _, h := range g.plain {
		var sum Root
		h.Sum(sum[:0])
		dst = append(dst, sum)
	}
	if g.plain == nil {
		var (
			end  [sha256.BlockSize]byte // SHA-256's padding of whole blocks
			side [groupRows][]byte
		)
		end[0] = 0x80
		binary.BigEndian.PutUint64(end[sha256.BlockSize-8:], 8*size)
		for lane := range side {
			side[lane] = end[:]
		}
		hashLanes(&g.states, &side, 1, &sha256Constants)
		for lane := range g.n {
			var sum Root
			for word := range g.states {
				binary.BigEndian.PutUint32(sum[4*word:], g.states[word][lane])
			}
			dst = append(dst, sum)
		}
	}
	return dst
}

// appendLeaves appends the Merkle leaves of consecutive whole rows to dst.
func appendLeaves(dst []Root, rows []byte) []Root {
	for len(rows) > 0 {
		var side [groupRows][]byte
		n := 0
		for ; n < groupRows && len(rows) > 0; n++ {
			side[n], rows = rows[:RowSize], rows[RowSize:]
		}
		g := newRowGroup(n)
		g.write(side[:n])
		dst = g.sums(dst, RowSize)
	}
	return dst
}

// hashPairs sets parents[i] to hashPair of children 2i and 2i+1. parents may be
// the first half of children.
func hashPairs(parents, children []Root) {
	for hasHashLanes && len(parents) >= groupRows {
		var (
			pairs [groupRows][sha256.BlockSize]byte
			side  [groupRows][]byte
		)
		for i := range pairs {
			copy(pairs[i][:], children[2*i][:])
			copy(pairs[i][len(Root{}):], children[2*i+1][:])
			side[i] = pairs[i][:]
		}
		g := newRowGroup(groupRows)
		g.write(side[:])
		g.sums(parents[:0], sha256.BlockSize)
		parents, children = parents[groupRows:], children[2*groupRows:]
	}
	for i := range parents {
		parents[i] = hashPair(children[2*i], children[2*i+1])
	}
}

// sha256Start and sha256Constants are those of FIPS 180-4, sections 5.3.3 and
// 4.2.2.
var (
	sha256Start = [8]uint32{
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
	}
	sha256Constants = [64]uint32{
		0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
		0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
		0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
		0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
		0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
		0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
		0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
		0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
	}
)
