package gather

import (
	"fmt"
	"strings"

	"granary/erasure"
	"granary/swarm"
)

// Waiting says in words what a fetch waits for, that has so many rows at hand: "3
// peers; pieces 17 and 20 have no holder; 100 more rows needed, 62 of them from these
// peers". A holder is one that is connected.
func Waiting(g erasure.Geometry, held erasure.PieceSet, rows int, s swarm.Status) string {
	need := g.K() - rows
	var words []string
	switch {
	case s.Peers == 0 && rows == 0:
		return "no peers yet"
	case s.Peers == 0 && need > 0:
		return fmt.Sprintf("no peers now; %d more rows needed", need)
	case s.Peers == 1:
		words = append(words, "1 peer")
	default:
		words = append(words, fmt.Sprintf("%d peers", s.Peers))
	}
	reach := Reachable(held, s)
	var nowhere []int
	for p := range g.FilePieces() {
		if !reach.Has(p) {
			nowhere = append(nowhere, p)
		}
	}
	if need <= 0 || len(nowhere) == 0 {
		return strings.Join(words, "; ")
	}
	words = append(words, pieceWords(nowhere))
	switch from := g.RowsIn(reach) - g.RowsIn(held); {
	case g.RowsIn(reach) >= g.K():
		words = append(words, "parity does instead")
	case from == 0:
		words = append(words, fmt.Sprintf("%d more rows needed, none of them from these peers", need))
	default:
		words = append(words, fmt.Sprintf("%d more rows needed, %d of them from these peers", need, from))
	}
	return strings.Join(words, "; ")
}

// Reachable is what is held or some connected peer has.
func Reachable(held erasure.PieceSet, s swarm.Status) erasure.PieceSet {
	reach := held.Clone()
	if s.Available.Cap() == reach.Cap() {
		reach.Union(s.Available)
	}
	return reach
}

// pieceWords names pieces that have no holder, three of them at most.
func pieceWords(pieces []int) string {
	const named = 3
	switch n := len(pieces); {
	case n == 1:
		return fmt.Sprintf("piece %d has no holder", pieces[0])
	case n <= named:
		return fmt.Sprintf("pieces %s and %d have no holder", numbers(pieces[:n-1]), pieces[n-1])
	default:
		return fmt.Sprintf("pieces %s and %d more have no holder", numbers(pieces[:named-1]), n-named+1)
	}
}

func numbers(list []int) string {
	text := make([]string, len(list))
	for i, n := range list {
		text[i] = fmt.Sprint(n)
	}
	return strings.Join(text, ", ")
}
