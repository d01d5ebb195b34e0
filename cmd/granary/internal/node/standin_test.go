package node_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"granary/cmd/granary/internal/node"
	"granary/sampling"
)

// What a home stands in for it owes, also after a restart, until it is told
// otherwise: then that is given back.
func TestStandingInOutlivesARestart(t *testing.T) {
	const have = 20 // of the first pieces
	dir := t.TempDir()
	id := partlyHeld(t, dir, have, false)
	cfg := node.Config{
		Dir: dir, Identity: key("custodian"), IP: netip.MustParseAddr("127.0.0.1"), Devnet: true, Custodian: true,
		Genesis: lonelyGenesis(t),
	}
	cfg.Genesis.Params.Custody = 4
	use := func(f func(n *node.Node) error) {
		t.Helper()
		n, err := node.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f(n), n.Close()); err != nil {
			t.Fatal(err)
		}
	}
	owed := func(n *node.Node) int {
		b, err := node.Stored(n, id)
		if err != nil {
			t.Fatal(err)
		}
		return node.OwedBy(n, b).Count()
	}
	use(func(n *node.Node) error {
		// 1,024 pieces: 16 of each group.
		if got := owed(n); got != 4*16 {
			t.Errorf("%d pieces owed, want those of 4 groups, 64", got)
		}
		node.StandFor(n, sampling.AllGroups)
		if got := owed(n); got != 1024 {
			t.Errorf("%d pieces owed by who stands in for all, want 1024", got)
		}
		return nil
	})
	use(func(n *node.Node) error {
		if got := owed(n); got != 1024 {
			t.Errorf("%d pieces owed after a restart, want 1024", got)
		}
		node.StandFor(n, 0)
		return nil
	})
	for _, damaged := range []string{"nonsense", strings.Repeat("f", 17)} {
		if err := os.WriteFile(filepath.Join(dir, "stand-ins"), []byte(damaged), 0o644); err != nil {
			t.Fatal(err)
		}
		use(func(n *node.Node) error {
			if got := owed(n); got != 4*16 {
				t.Errorf("%d pieces owed when the file has %q, want 64", got, damaged)
			}
			return nil
		})
	}
}
