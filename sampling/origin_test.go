package sampling_test

import (
	"slices"
	"testing"

	"granary/sampling"
)

// Eighteen holders that one person rents in one place get no more of the rows
// than three that stand elsewhere.
func TestRowsAreSpreadOverOriginsBeforeHolders(t *testing.T) {
	b := newBlock(t, 600, 1)
	net := newNetwork(24, b)
	origin := func(h sampling.Holder) string {
		switch i := slices.Index(net.peers, h); {
		case i < 3:
			return "home"
		case i < 6:
			return "office"
		}
		return "rented"
	}
	v, err := sampling.New(net, net, sampling.Config{Origin: origin}).Judge(t.Context(), fresh(b), nil)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, v, sampling.Available, "")
	times := make(map[string]int)
	for _, r := range net.requests {
		times[origin(r.holder)]++
	}
	if v.Origins != 3 || times["rented"] > len(net.requests)/3+1 {
		t.Errorf("rows from %d origins, requests to them %v; want a third each", v.Origins, times)
	}
}

func TestUnknownOriginsAreDifferentOnes(t *testing.T) {
	b := newBlock(t, 600, 1)
	net := newNetwork(24, b)
	v, err := sampling.New(net, net, sampling.Config{}).Judge(t.Context(), fresh(b), nil)
	if err != nil {
		t.Fatal(err)
	}
	if v.Origins != v.Serving || v.Origins != 24 {
		t.Errorf("%d origins of %d holders that served, want 24 of 24", v.Origins, v.Serving)
	}
}
