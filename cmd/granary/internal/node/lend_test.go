package node_test

import (
	"slices"
	"testing"

	"granary/cmd/granary/internal/node"
	"granary/erasure"
)

func TestLentDiskGoesToWhatFewestHold(t *testing.T) {
	g, err := erasure.NewGeometry(4 * erasure.RowSize) // 8 pieces of one row
	if err != nil {
		t.Fatal(err)
	}
	held := erasure.NewPieceSet(g.Pieces())
	held.Add(1)
	for _, c := range []struct {
		name  string
		count []int
		rows  int64
		want  []int
	}{
		{"the rarest first", []int{5, 1, 2, 1, 4, 3, 7, 6}, 3, []int{2, 3, 5}},
		{"nothing without room", []int{5, 1, 2, 1, 4, 3, 7, 6}, 0, nil},
		{"not what nobody has", []int{0, 0, 0, 1, 0, 0, 0, 0}, 9, []int{3}},
		{"not what enough hold", []int{8, 9, 8, 2, 20, 8, 8, 8}, 9, []int{3}},
		{"everything in need", []int{1, 1, 1, 1, 1, 1, 1, 1}, 9, []int{0, 2, 3, 4, 5, 6, 7}},
	} {
		got := slices.Collect(node.Needy(g, held, c.count, c.rows*erasure.RowSize).All())
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: chose %v, want %v", c.name, got, c.want)
		}
	}
}
