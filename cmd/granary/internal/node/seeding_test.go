package node_test

import (
	"os"
	"path/filepath"
	"testing"

	"granary/cmd/granary/internal/node"
)

func TestSeedingIsOffWhenNobodyKnows(t *testing.T) {
	dir := t.TempDir()
	check := func(want string) {
		t.Helper()
		why, err := node.WhyIdle(dir)
		if why != want || (err != nil) != (want == "error") {
			t.Errorf("idle because of %q (%v), want %q", why, err, want)
		}
	}
	check("")
	if err := node.RememberSeeding(dir, false); err != nil {
		t.Fatal(err)
	}
	check("off")
	if err := node.RememberSeeding(dir, true); err != nil {
		t.Fatal(err)
	}
	check("")
	if err := os.Symlink("seeding-off", filepath.Join(dir, "seeding-off")); err != nil { // a loop: neither there nor not
		t.Fatal(err)
	}
	check("error")
}

func TestNoPartOfALimitIsNone(t *testing.T) {
	for upload := range int64(100) {
		samples, torrents := node.Shares(upload)
		if upload == 0 && samples+torrents != 0 {
			t.Errorf("no limit became %d and %d", samples, torrents)
		}
		if upload > 0 && (samples == 0 || torrents == 0 || samples+torrents > max(upload, 2)) {
			t.Errorf("%d B/s became %d and %d", upload, samples, torrents)
		}
	}
}
