package node_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"granary/cmd/granary/internal/node"
	"granary/erasure"
)

// TestACustodianTakesContentFromAWebSeed: nobody else is there.
func TestACustodianTakesContentFromAWebSeed(t *testing.T) {
	dir := t.TempDir()
	id := partlyHeld(t, dir, 3, false) // of 8 MiB of zeros
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/owed" {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "owed", time.Time{}, bytes.NewReader(make([]byte, 8<<20)))
	}))
	defer s.Close()
	n, err := node.Open(t.Context(), node.Config{
		Dir: dir, Identity: key("custodian"), IP: netip.MustParseAddr("127.0.0.1"), Devnet: true,
		Genesis: lonelyGenesis(t), WebSeeds: []string{s.URL + "/"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	b, err := node.Stored(n, id)
	if err != nil {
		t.Fatal(err)
	}
	owed := erasure.NewPieceSet(b.Geometry().Pieces())
	for _, p := range []int{1, 100, 300, 511} {
		owed.Add(p)
	}
	if err := node.FetchShare(t.Context(), n, b, owed); err != nil {
		t.Fatal(err)
	}
	if held := b.Held(); !held.Contains(owed) || held.Count() != 6 {
		t.Errorf("%d pieces held, want the 3 of before, and 100, 300 and 511", held.Count())
	}
}
