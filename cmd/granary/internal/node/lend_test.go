package node_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"granary/cmd/granary/internal/deny"
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

func TestNoDiskIsLentToADeniedBlock(t *testing.T) {
	store, list := openStore(t), filepath.Join(t.TempDir(), "deny")
	var ids []erasure.ID
	for i := range 2 {
		_, whole, _ := publishedBlock(t, 2+i)
		b, err := store.Put(t.Context(), whole.Bundle())
		if err != nil {
			t.Fatal(err)
		}
		if err := node.Owe(t.Context(), b, 1, time.Now(), 30); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, b.ID())
	}
	if err := os.WriteFile(list, []byte("block "+ids[0].String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	denied, err := deny.Open(list)
	if err != nil {
		t.Fatal(err)
	}
	if got := node.MayHelp(store, denied); !slices.Equal(got, ids[1:]) {
		t.Errorf("would take in pieces of %v, want of %v alone", got, ids[1])
	}
}
