package erasure

import (
	"errors"
	"iter"
	"math/bits"
)

// ErrPieceSet reports encoded pieces of the wrong length or beyond the block.
var ErrPieceSet = errors.New("piece set does not fit the block")

// PieceSet is a set of piece numbers of one block, 0 ≤ p < Pieces. Its
// capacity is fixed when it is made; it is not safe for concurrent writes.
type PieceSet struct {
	n    int
	bits []byte // piece p is bit 0x80>>(p%8) of byte p/8, as in a BitTorrent bitfield
}

// NewPieceSet returns an empty set with room for pieces 0 ≤ p < n.
func NewPieceSet(n int) PieceSet {
	return PieceSet{n: n, bits: make([]byte, (n+7)/8)}
}

// AllPieces returns the set of every piece 0 ≤ p < n.
func AllPieces(n int) PieceSet {
	s := NewPieceSet(n)
	for p := range n {
		s.Add(p)
	}
	return s
}

// ParsePieceSet reads a BitTorrent bitfield of n pieces: exactly (n+7)/8 bytes
// with the spare bits zero, else ErrPieceSet. It keeps no reference to b.
func ParsePieceSet(n int, b []byte) (PieceSet, error) {
	s := NewPieceSet(n)
	if len(b) != len(s.bits) {
		return PieceSet{}, ErrPieceSet
	}
	if spare := len(b)*8 - n; spare > 0 && b[len(b)-1]&(1<<spare-1) != 0 {
		return PieceSet{}, ErrPieceSet
	}
	copy(s.bits, b)
	return s, nil
}

// Bytes returns the set as a BitTorrent bitfield, a copy.
func (s PieceSet) Bytes() []byte { return append([]byte(nil), s.bits...) }

// Cap is the number of pieces the set has room for.
func (s PieceSet) Cap() int { return s.n }

// Has reports whether piece p is in the set; pieces outside its room are not.
func (s PieceSet) Has(p int) bool {
	return p >= 0 && p < s.n && s.bits[p/8]&(0x80>>(p%8)) != 0
}

// Add puts piece p into the set; p must be in 0 ≤ p < Cap.
func (s PieceSet) Add(p int) { s.bits[p/8] |= 0x80 >> (p % 8) }

// Remove takes piece p, 0 ≤ p < Cap, out of the set.
func (s PieceSet) Remove(p int) { s.bits[p/8] &^= 0x80 >> (p % 8) }

// Count is the number of pieces in the set.
func (s PieceSet) Count() int {
	n := 0
	for _, b := range s.bits {
		n += bits.OnesCount8(b)
	}
	return n
}

// All yields the pieces in ascending order.
func (s PieceSet) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for p := range s.n {
			if s.Has(p) && !yield(p) {
				return
			}
		}
	}
}

// Clone returns an independent copy.
func (s PieceSet) Clone() PieceSet { return PieceSet{n: s.n, bits: s.Bytes()} }

// Union adds every piece of o, which must have the same room, to s.
func (s PieceSet) Union(o PieceSet) {
	for i := range s.bits {
		s.bits[i] |= o.bits[i]
	}
}

// Contains reports whether every piece of o is also in s.
func (s PieceSet) Contains(o PieceSet) bool {
	for p := range o.All() {
		if !s.Has(p) {
			return false
		}
	}
	return true
}

// RowsIn is the number of rows in the pieces of the set.
func (g Geometry) RowsIn(s PieceSet) int {
	n := 0
	for p := range s.All() {
		_, count := g.PieceSpan(p)
		n += count
	}
	return n
}
