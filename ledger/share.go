package ledger

import (
	"crypto/sha3"
	"encoding/binary"
	"math/bits"

	"granary/erasure"
)

const (
	shareDomain = "granary/share/v1"

	// Three laps give a third of the power 1-(2/3)³ = 70 % of the pieces on
	// average, where half are needed; two would give 56 %, too close.
	laps = 3

	// wholeRows is how many content rows a block needs for shares to be worth
	// it: below, chance would have to be on the side of too few pieces.
	wholeRows = 256
)

// Share returns the pieces of a block of geometry g that validator number which
// of the set keeps on the network with the given chain ID: with those of any
// others it is enough to decode, once they have a third of the power together.
// All of them, if the block is small or the validator has a sixth of the power.
//
// A lap is a random order of the pieces, cut in proportion to power and rounded
// outward; a share is what a validator is dealt in three. The order follows from
// chain, set and number of pieces alone: no publisher can choose a bad one. set
// must be valid, and which in 0 ≤ which < len(set).
func Share(chain string, set []Validator, which int, g erasure.Geometry) erasure.PieceSet {
	pieces, total := g.Pieces(), Power(set)
	if g.K() < wholeRows || set[which].Power*2*laps >= total {
		return erasure.AllPieces(pieces)
	}
	before := Power(set[:which])
	first := before * int64(pieces) / total
	last := ((before+set[which].Power)*int64(pieces) + total - 1) / total
	share := erasure.NewPieceSet(pieces)
	for lap := range laps {
		for _, p := range lapOrder(chain, set, pieces, lap)[first:last] {
			share.Add(p)
		}
	}
	return share
}

// lapOrder shuffles the pieces (Fisher and Yates, from the top) by SHAKE-128
// over: domain ‖ u8 length of chain ‖ chain ‖ set hash ‖ u32le pieces ‖ u8 lap.
func lapOrder(chain string, set []Validator, pieces, lap int) []int {
	hash := setHash(set)
	seed := append([]byte(shareDomain), byte(len(chain)))
	seed = append(append(seed, chain...), hash[:]...)
	seed = append(binary.LittleEndian.AppendUint32(seed, uint32(pieces)), byte(lap))
	shake := sha3.NewSHAKE128()
	shake.Write(seed)

	order := make([]int, pieces)
	for i := range order {
		order[i] = i
	}
	for i := pieces - 1; i > 0; i-- {
		j := uniform(shake, uint64(i)+1)
		order[i], order[j] = order[j], order[i]
	}
	return order
}

// uniform reads numbers, u64le, until one lies below the largest multiple of n
// that 64 bits hold, and returns it mod n.
func uniform(shake *sha3.SHAKE, n uint64) uint64 {
	_, excess := bits.Div64(1, 0, n) // 2^64 mod n
	for {
		var b [8]byte
		shake.Read(b[:])
		if r := binary.LittleEndian.Uint64(b[:]); r <= -excess-1 {
			return r % n
		}
	}
}
