package sampling_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"granary/erasure"
	"granary/sampling"
)

func TestCustodyVectors(t *testing.T) {
	b, err := os.ReadFile("testdata/custody.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Chain  string
		Peer   string // hex
		Count  int
		Groups []int // in the order the rule finds them
	}
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		peerID, err := hex.DecodeString(v.Peer)
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Collect(sampling.Custody(v.Chain, peerID, v.Count).All())
		want := slices.Sorted(slices.Values(v.Groups))
		if !slices.Equal(got, want) {
			t.Errorf("Custody(%.20q, %s, %d) = %v, want %v", v.Chain, v.Peer, v.Count, got, want)
		}
		// The vectors are in order, so every prefix of one is a vector too.
		for n := range v.Groups {
			set := sampling.Custody(v.Chain, peerID, n)
			for _, g := range v.Groups[:n] {
				if !set.Has(g) {
					t.Errorf("Custody(%.20q, %s, %d) lacks group %d", v.Chain, v.Peer, n, g)
				}
			}
		}
	}
}

func TestCustodyHasCountGroupsAndOnlyGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chain := rapid.StringN(0, 60, 255).Draw(t, "chain")
		peerID := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "peer")
		count := rapid.IntRange(0, sampling.Groups).Draw(t, "count")
		set := sampling.Custody(chain, peerID, count)
		if set.Count() != count {
			t.Fatalf("%d groups, want %d", set.Count(), count)
		}
		if more := sampling.Custody(chain, peerID, count+1); set&^more != 0 {
			t.Fatalf("groups %b of count %d are not among %b of one more", set, count, more)
		}
	})
}

func TestCustodyAtTheEdges(t *testing.T) {
	long := string(make([]byte, 256))
	for _, c := range []struct {
		name  string
		chain string
		peer  []byte
		count int
		want  sampling.GroupSet
	}{
		{"no count", "net", []byte("peer"), 0, 0},
		{"negative count", "net", []byte("peer"), -1, 0},
		{"all", "net", []byte("peer"), 64, sampling.AllGroups},
		{"more than all", "net", []byte("peer"), 1000, sampling.AllGroups},
		{"long chain", long, []byte("peer"), 4, 0},
		{"long peer", "net", []byte(long), 64, 0},
	} {
		if got := sampling.Custody(c.chain, c.peer, c.count); got != c.want {
			t.Errorf("%s: %b, want %b", c.name, got, c.want)
		}
	}
}

func TestEveryPieceFallsToOneGroupAndAllGroupsOweAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var id erasure.ID
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "id"))
		g, err := erasure.NewGeometry(rapid.Int64Range(1, erasure.MaxLength).Draw(t, "length"))
		if err != nil {
			t.Fatal(err)
		}
		times := make([]int, g.Pieces())
		for group := range sampling.Groups {
			for p := range sampling.Owed(id, g, 1<<group).All() {
				times[p]++
			}
		}
		want := 1
		if g.K() <= 64 {
			want = sampling.Groups
		}
		for p, n := range times {
			if n != want {
				t.Fatalf("piece %d of %d is owed by %d single groups, want %d", p, g.Pieces(), n, want)
			}
		}
		if n := sampling.Owed(id, g, sampling.AllGroups).Count(); n != g.Pieces() {
			t.Fatalf("all groups owe %d of %d pieces", n, g.Pieces())
		}
		if n := sampling.Owed(id, g, 0).Count(); n != 0 {
			t.Fatalf("no groups owe %d pieces", n)
		}
	})
}

func TestOwedOfKnownBlocks(t *testing.T) {
	id := erasure.ID{0: 3} // shifts every piece by three groups
	for _, c := range []struct {
		rows   int64
		groups sampling.GroupSet
		want   []int
	}{
		{1, 1 << 40, []int{0, 1}}, // small: every piece
		{65, 1 << 3, []int{0, 64, 128}},
		{65, 1<<3 | 1<<5, []int{0, 2, 64, 66, 128}}, // of 130 pieces
		{65, 1 << 2, []int{63, 127}},
		{600, 1 << 3, []int{0, 64, 128, 192, 256, 320, 384, 448, 512, 576}}, // pieces of 2 rows: 600 of them
	} {
		g, err := erasure.NewGeometry(c.rows * erasure.RowSize)
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Collect(sampling.Owed(id, g, c.groups).All())
		if !slices.Equal(got, c.want) {
			t.Errorf("%d rows, groups %b: owed %v, want %v", c.rows, c.groups, got, c.want)
		}
	}
}
