package plan_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"granary/erasure"
	"granary/swarm/internal/plan"
)

const row = erasure.RowSize

func geometry(t interface{ Fatal(...any) }, k int) erasure.Geometry {
	g, err := erasure.NewGeometry(int64(k) * row)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func set(g erasure.Geometry, pieces ...int) erasure.PieceSet {
	s := erasure.NewPieceSet(g.Pieces())
	for _, p := range pieces {
		s.Add(p)
	}
	return s
}

func TestChoose(t *testing.T) {
	g := geometry(t, 4) // content pieces 0 to 3, parity pieces 4 to 7
	all := erasure.AllPieces(8)
	for _, c := range []struct {
		name  string
		state plan.State
		want  []int
	}{
		{"content from a whole peer", plan.State{Peers: []plan.Peer{{Has: all}}}, []int{0, 1, 2, 3}},
		{"content while nobody is there, so that somebody is dialled", plan.State{}, []int{0, 1, 2, 3}},
		{"parity for the content nobody has", plan.State{Peers: []plan.Peer{{Has: set(g, 0, 1, 6)}, {Has: set(g, 7)}}}, []int{0, 1, 6, 7}},
		{"the rarest parity", plan.State{Peers: []plan.Peer{{Has: set(g, 0, 1, 2, 5, 6, 7)}, {Has: set(g, 5, 7)}}}, []int{0, 1, 2, 6}},
		{"only what is missing", plan.State{Held: set(g, 0, 5, 6), Peers: []plan.Peer{{Has: set(g, 5, 7)}}}, []int{7}},
		{"nothing when there is enough", plan.State{Held: set(g, 0, 5, 6, 7), Peers: []plan.Peer{{Has: all}}}, nil},
		{"started before content", plan.State{Started: set(g, 7), Peers: []plan.Peer{{Has: all}}, Held: set(g, 0, 1, 2)}, []int{7}},
		{"content again when the only holder of a started piece left", plan.State{Started: set(g, 7), Held: set(g, 0, 1, 2)}, []int{3}},
		{"never what was refused", plan.State{Refused: set(g, 0, 4), Peers: []plan.Peer{{Has: set(g, 0, 1, 2, 3, 4, 5)}}}, []int{1, 2, 3, 5}},
		{"all that is left when it is too little", plan.State{Refused: set(g, 0, 1, 2, 3, 4)}, []int{5, 6, 7}},
		{"idle parity for a stuck piece", plan.State{
			Held: set(g, 0, 1, 2), Started: set(g, 3), Stuck: set(g, 3),
			Peers: []plan.Peer{{Has: all}, {Has: set(g, 6), Idle: true}},
		}, []int{6}},
		{"a stuck piece rather than a busy peer's parity", plan.State{
			Held: set(g, 0, 1, 2), Started: set(g, 3), Stuck: set(g, 3), Peers: []plan.Peer{{Has: all}},
		}, []int{3}},
		{"the parity chosen in its place, though its peer is busy now", plan.State{
			Held: set(g, 0, 1, 2), Stuck: set(g, 3), Wanted: set(g, 6),
			Peers: []plan.Peer{{Has: all}, {Has: set(g, 6)}},
		}, []int{6}},
		{"what another fetcher has before what only a source has", plan.State{
			Peers: []plan.Peer{{Has: all}, {Has: set(g, 1, 6), Fetches: true}}, Held: set(g, 0), Started: set(g, 4),
		}, []int{1, 4, 6}},
		{"what was wanted of the source, parity too", plan.State{
			Peers: []plan.Peer{{Has: all}, {Has: set(g, 1, 6), Fetches: true}}, Wanted: set(g, 5, 7),
		}, []int{1, 5, 6, 7}},
		{"content over wanted parity", plan.State{
			Held: set(g, 0, 1, 2), Wanted: set(g, 6), Peers: []plan.Peer{{Has: all}},
		}, []int{3}},
	} {
		c.state.Geometry, c.state.Need = g, g.K()
		if got := slices.Collect(c.state.Choose().All()); !slices.Equal(got, c.want) {
			t.Errorf("%s: chose %v, want %v", c.name, got, c.want)
		}
	}
}

// TestFetchersOfOneSourceChooseDifferently: parity counts as much as content,
// so that two who begin together share few pieces.
func TestFetchersOfOneSourceChooseDifferently(t *testing.T) {
	g := geometry(t, 512)
	state := plan.State{Geometry: g, Need: g.K(), Peers: []plan.Peer{
		{Has: erasure.AllPieces(g.Pieces())}, {Has: erasure.NewPieceSet(g.Pieces()), Fetches: true},
	}}
	first := map[int]int{}
	const fetchers = 16
	for salt := range uint64(fetchers) {
		state.Salt = salt << 32
		for _, p := range state.Order(state.Choose())[:8] {
			first[p]++
		}
	}
	if len(first) < 8*fetchers*8/10 {
		t.Errorf("the first 8 pieces of %d fetchers are %d different ones, want nearly %d", fetchers, len(first), 8*fetchers)
	}
}

func TestOrder(t *testing.T) {
	g := geometry(t, 4)
	s := plan.State{Geometry: g, Started: set(g, 3), Peers: []plan.Peer{
		{Has: erasure.AllPieces(8)}, {Has: set(g, 0, 3, 6)}, {Has: set(g, 6)},
	}}
	if got, want := s.Order(set(g, 0, 3, 5, 6)), []int{3, 5, 0, 6}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v: started, then rarest", got, want)
	}
}

func TestChooseTakesNoMoreRowsThanAPieceTooMany(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := geometry(t, rapid.IntRange(1, 3000).Draw(t, "k"))
		s := plan.State{Geometry: g, Need: g.K(), Salt: rapid.Uint64().Draw(t, "salt")}
		s.Held = draw(t, g, "held")
		s.Refused = draw(t, g, "refused")
		s.Started = draw(t, g, "started")
		s.Stuck = draw(t, g, "stuck")
		s.Wanted = draw(t, g, "wanted")
		crowd := rapid.Bool().Draw(t, "crowd") // then some is left for later
		for range rapid.IntRange(0, 4).Draw(t, "peers") {
			s.Peers = append(s.Peers, plan.Peer{Has: draw(t, g, "has"), Idle: rapid.Bool().Draw(t, "idle"), Fetches: crowd && rapid.Bool().Draw(t, "fetches")})
		}
		want := s.Choose()
		possible := 0
		for p := range g.Pieces() {
			if _, rows := g.PieceSpan(p); !s.Held.Has(p) && !s.Refused.Has(p) {
				possible += rows
			} else if want.Has(p) {
				t.Fatalf("piece %d is held or refused", p)
			}
		}
		missing := max(0, s.Need-g.RowsIn(s.Held))
		got := g.RowsIn(want)
		if got < min(missing, possible) && !crowd || got == 0 && min(missing, possible) > 0 {
			t.Fatalf("chose %d rows, %d missing and %d possible", got, missing, possible)
		}
		if got >= missing+g.PieceRows() {
			t.Fatalf("chose %d rows where %d are missing", got, missing)
		}
	})
}

func draw(t *rapid.T, g erasure.Geometry, label string) erasure.PieceSet {
	s := erasure.NewPieceSet(g.Pieces())
	every := rapid.IntRange(1, 5).Draw(t, label)
	from := rapid.IntRange(0, g.Pieces()).Draw(t, label)
	for p := from; p < g.Pieces(); p += every {
		s.Add(p)
	}
	return s
}
