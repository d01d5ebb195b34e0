package sampling

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"math"
	"math/bits"

	"granary/erasure"
)

// Groups is the number of custody groups.
const Groups = 64

// everyPiece is the largest K at which a custodian owes every piece whatever
// its groups: the whole block is at most 2 MiB then, and a few rows per
// custodian would leave none of them able to decode it.
const everyPiece = 64

// GroupSet is a set of custody groups: bit g stands for group g.
type GroupSet uint64

// AllGroups has every group.
const AllGroups GroupSet = math.MaxUint64

// Has reports whether group g, 0 ≤ g < Groups, is in the set.
func (s GroupSet) Has(g int) bool { return s>>uint(g)&1 != 0 }

// Count is the number of groups in the set.
func (s GroupSet) Count() int { return bits.OnesCount64(uint64(s)) }

// All yields the groups in ascending order.
func (s GroupSet) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for rest := uint64(s); rest != 0; rest &= rest - 1 {
			if !yield(bits.TrailingZeros64(rest)) {
				return
			}
		}
	}
}

// Custody returns the first count distinct groups of the node with this peer
// ID in the network with this chain ID. The groups of a smaller count are
// always among those of a larger one; none for count ≤ 0, all of them from
// count = Groups on.
//
// A chain ID or peer ID longer than 255 bytes has no groups: no real one is,
// and the rule hashes each behind one byte of length.
func Custody(chain string, peerID []byte, count int) GroupSet {
	if len(chain) > math.MaxUint8 || len(peerID) > math.MaxUint8 {
		return 0
	}
	if count >= Groups {
		return AllGroups
	}
	msg := []byte("granary/custody/v1")
	msg = append(msg, byte(len(chain)))
	msg = append(msg, chain...)
	msg = append(msg, byte(len(peerID)))
	msg = append(msg, peerID...)

	var set GroupSet
	for i := uint32(0); set.Count() < count; i++ {
		sum := sha256.Sum256(binary.LittleEndian.AppendUint32(msg, i))
		set |= 1 << (sum[0] % Groups)
	}
	return set
}

// GroupOf returns the group of a piece, 0 ≤ piece < Geometry.Pieces: its
// number, shifted by the block's ID so that the few pieces of small blocks do
// not all fall to the same custodians.
func GroupOf(id erasure.ID, piece int) int {
	return int((uint64(piece) + binary.LittleEndian.Uint64(id[:8])) % Groups)
}

// Owed returns the pieces of a block that a node with these groups owes, with
// room for all of the block's pieces. Of a block with at most 64 content rows
// every custodian owes every piece; a node without groups owes none.
func Owed(id erasure.ID, g erasure.Geometry, groups GroupSet) erasure.PieceSet {
	owed := erasure.NewPieceSet(g.Pieces())
	if groups == 0 {
		return owed
	}
	for p := range g.Pieces() {
		if g.K() <= everyPiece || groups.Has(GroupOf(id, p)) {
			owed.Add(p)
		}
	}
	return owed
}
