package ledger_test

import (
	"fmt"
	"slices"
	"testing"

	"granary/erasure"
	"granary/ledger"
)

func geometry(t testing.TB, k int) erasure.Geometry {
	t.Helper()
	g, err := erasure.NewGeometry(int64(k) * erasure.RowSize)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// powersOf returns how n validators share power: all alike, by Zipf's law, or
// one much larger than the rest.
func powersOf(shape string, n int) []int64 {
	powers := make([]int64, n)
	for i := range powers {
		switch shape {
		case "equal":
			powers[i] = 1
		case "zipf":
			powers[i] = int64(1_000_000 / (i + 1))
		case "one large":
			powers[i] = 100
		}
	}
	if shape == "one large" {
		powers[0] = int64(100*n) / 7 // an eighth of all: not enough to keep everything
	}
	return powers
}

func shares(set []ledger.Validator, g erasure.Geometry) []erasure.PieceSet {
	out := make([]erasure.PieceSet, len(set))
	for v := range set {
		out[v] = ledger.Share(testChain, set, v, g)
	}
	return out
}

func TestSharesOfTheSmallAndTheLarge(t *testing.T) {
	set := validators(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
	for _, k := range []int{1, 2, 100, 255} {
		g := geometry(t, k)
		for v, s := range shares(set, g) {
			if s.Count() != g.Pieces() {
				t.Errorf("k %d: validator %d keeps %d of %d pieces", k, v, s.Count(), g.Pieces())
			}
		}
	}
	g := geometry(t, 256)
	for v, s := range shares(set, g) {
		// Three laps of a tenth each, less what comes up twice.
		if s.Count() <= g.Pieces()/10 || s.Count() > 3*(g.Pieces()/10+2) {
			t.Errorf("validator %d of ten keeps %d of %d pieces", v, s.Count(), g.Pieces())
		}
	}
	for _, c := range []struct {
		powers []int64
		whole  bool // the first validator keeps everything
	}{
		{[]int64{1, 1, 1, 1}, true},
		{[]int64{1, 5}, true},
		{[]int64{1, 1, 1, 1, 1, 1}, true},
		{[]int64{1, 1, 1, 1, 1, 1, 1}, false},
		{[]int64{1 << 47, 5 << 47}, true},
		{[]int64{1<<47 - 1, 5<<47 + 1}, false},
	} {
		s := ledger.Share(testChain, validators(c.powers...), 0, g)
		if got := s.Count() == g.Pieces(); got != c.whole {
			t.Errorf("powers %v: the first keeps %d of %d pieces", c.powers, s.Count(), g.Pieces())
		}
	}
}

func TestEveryPieceIsKeptInEveryLap(t *testing.T) {
	for _, n := range []int{7, 23, 100} {
		g := geometry(t, 1000)
		holders := make([]int, g.Pieces())
		for _, s := range shares(validators(powersOf("zipf", n)...), g) {
			for p := range s.All() {
				holders[p]++
			}
		}
		if slices.Min(holders) < 1 {
			t.Errorf("%d validators: a piece that nobody keeps", n)
		}
	}
}

func TestSharesFollowFromChainAndPowers(t *testing.T) {
	g := geometry(t, 1000)
	set := validators(powersOf("equal", 10)...)
	base := ledger.Share(testChain, set, 3, g)
	same := func(what string, other erasure.PieceSet, want bool) {
		t.Helper()
		if got := base.Contains(other) && other.Contains(base); got != want {
			t.Errorf("%s: same share %v, want %v", what, got, want)
		}
	}
	same("again", ledger.Share(testChain, set, 3, g), true)
	same("another chain", ledger.Share("granary-other", set, 3, g), false)
	moved := validators(powersOf("equal", 10)...)
	moved[9].Name, moved[9].Peer, moved[9].Attest = "renamed", ledger.PeerID("moved"), ledger.PublicKey{}
	same("another name and peer", ledger.Share(testChain, moved, 3, g), true)
	moved[9].Consensus[0] ^= 1
	same("another key", ledger.Share(testChain, moved, 3, g), false)
	set[9].Power = 2
	same("another power", ledger.Share(testChain, set, 3, g), false)
}

func TestSharesAreTheReferences(t *testing.T) {
	for _, shape := range []string{"equal", "zipf", "one large"} {
		for _, n := range []int{6, 7, 31, 100} {
			for _, k := range []int{255, 256, 1000, 16384} {
				set, g := validators(powersOf(shape, n)...), geometry(t, k)
				for _, v := range []int{0, 1, n / 2, n - 1} {
					got, want := ledger.Share(testChain, set, v, g), refShare(testChain, set, v, g)
					if !got.Contains(want) || !want.Contains(got) {
						t.Errorf("%s, k %d: validator %d of %d keeps %d pieces, the reference says %d", shape, k, v, n, got.Count(), want.Count())
					}
				}
			}
		}
	}
}

func BenchmarkShare(b *testing.B) {
	set := validators(powersOf("zipf", 100)...)
	for _, k := range []int{256, 16384} {
		b.Run(fmt.Sprint("k", k), func(b *testing.B) {
			g := geometry(b, k)
			b.ReportAllocs()
			for b.Loop() {
				ledger.Share(testChain, set, 50, g)
			}
		})
	}
}
