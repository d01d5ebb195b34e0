package gather_test

import (
	"testing"

	"granary/cmd/granary/internal/gather"
	"granary/erasure"
	"granary/swarm"
)

func TestWhatAFetchWaitsFor(t *testing.T) {
	const k = 512 // pieces of one row
	g, err := erasure.NewGeometry(k * erasure.RowSize)
	if err != nil {
		t.Fatal(err)
	}
	set := func(from, to int, but ...int) erasure.PieceSet {
		s := erasure.NewPieceSet(g.Pieces())
		for p := from; p < to; p++ {
			s.Add(p)
		}
		for _, p := range but {
			s.Remove(p)
		}
		return s
	}
	for _, c := range []struct {
		held, offered erasure.PieceSet
		peers         int
		want          string
	}{
		{set(0, 0), set(0, 0), 0, "no peers yet"},
		{set(0, 100), set(0, 0), 0, "no peers now; 412 more rows needed"},
		{set(0, 100), set(0, k), 1, "1 peer"},
		{set(0, 412, 17, 20), set(0, 450, 17, 20), 3, "3 peers; pieces 17, 20 and 62 more have no holder; 102 more rows needed, 38 of them from these peers"},
		{set(0, 412), set(0, k, 500), 3, "3 peers; piece 500 has no holder; 100 more rows needed, 99 of them from these peers"},
		{set(0, 412), set(0, 412), 3, "3 peers; pieces 412, 413 and 98 more have no holder; 100 more rows needed, none of them from these peers"},
		{set(0, 0), set(k, 2*k), 2, "2 peers; pieces 0, 1 and 510 more have no holder; parity does instead"},
		{set(0, 412), set(0, 2*k, 500, 501), 3, "3 peers; pieces 500 and 501 have no holder; parity does instead"},
		{set(0, k), set(0, 5), 2, "2 peers"},
	} {
		st := swarm.Status{Rows: g.RowsIn(c.held), Need: k, Peers: c.peers, Available: c.offered}
		if got := gather.Waiting(g, c.held, st.Rows, st); got != c.want {
			t.Errorf("says  %q\nwants %q", got, c.want)
		}
	}
	// Rows that came one by one, of pieces that are not complete, count.
	held, st := set(0, 400), swarm.Status{Rows: 400, Need: k, Peers: 1, Available: set(0, 410)}
	if got, want := gather.Waiting(g, held, 420, st), "1 peer; pieces 410, 411 and 100 more have no holder; 92 more rows needed, 10 of them from these peers"; got != want {
		t.Errorf("says  %q\nwants %q", got, want)
	}
}
