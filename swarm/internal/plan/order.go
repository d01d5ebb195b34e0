package plan

import (
	"cmp"
	"slices"

	"granary/erasure"
)

// Order returns the pieces of want in the order in which to ask for them: what
// is started, so that it can soon be given on; then the rarest first. Ties fall
// differently for every Salt: who fetch at once from one source must not all ask
// it for the same.
func (s State) Order(want erasure.PieceSet) []int {
	offers := make([]int, s.Geometry.Pieces())
	for _, peer := range s.Peers {
		for p := range peer.Has.All() {
			offers[p]++
		}
	}
	list := make([]candidate, 0, want.Count())
	for p := range want.All() {
		c := candidate{piece: p, rank: 1, offers: offers[p], tie: mix(s.Salt + uint64(p))}
		if s.Started.Has(p) {
			c.rank = 0
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.offers, b.offers), cmp.Compare(a.tie, b.tie))
	})
	order := make([]int, len(list))
	for i, c := range list {
		order[i] = c.piece
	}
	return order
}
