package chain_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"granary/ledger"
	"granary/ledger/chain"
)

// TestStateIsRebuiltFromTheChain: the state is the fold of what the engine has.
func TestStateIsRebuiltFromTheChain(t *testing.T) {
	n := newNetwork(t, 1, 0, time.Second)
	index := n.announce(0, "alice", 1, record("a"))
	n.attest(0, 0, 1, index, record("a").ID())
	n.entry(0, index, ledger.EntryCertified)
	before, err := n.nodes[0].Status()
	if err != nil {
		t.Fatal(err)
	}
	n.stop(0)
	if err := os.Remove(filepath.Join(n.config(0).Dir, "state.db")); err != nil {
		t.Fatal(err)
	}
	c := n.start(0)
	if viewErr := c.View(func(s *ledger.State) {
		if h, err := s.HeadAt(before.Height); err != nil || h != before.Head {
			t.Errorf("rebuilt head %+v (%v), it was %+v", h, err, before.Head)
		}
	}); viewErr != nil {
		t.Error(viewErr)
	}
	n.announce(0, "alice", 2, record("b"))
}

func TestDamageIsSaid(t *testing.T) {
	n := newNetwork(t, 1, 0, time.Second)
	n.announce(0, "alice", 1, record("a"))
	n.stop(0)
	cfg := n.config(0)
	signed := filepath.Join(cfg.Dir, "data", "signed.json")
	good, err := os.ReadFile(signed)
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range []string{"", "{", `{"height": 7}`} {
		if err := os.WriteFile(signed, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := chain.Open(t.Context(), cfg); !errors.Is(err, chain.ErrSigned) {
			t.Errorf("last signature %q: %v", damaged, err)
		}
	}
	if err := os.WriteFile(signed, good, 0o600); err != nil {
		t.Fatal(err)
	}

	// The engine's blocks are gone, or older than the state: a copy put in place.
	if err := os.RemoveAll(filepath.Join(cfg.Dir, "data", "blockstore.db")); err != nil {
		t.Fatal(err)
	}
	if c, err := chain.Open(t.Context(), cfg); err == nil {
		t.Error("opened without its blocks")
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	} else {
		t.Log(err)
	}
}
