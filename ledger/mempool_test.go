package ledger_test

import (
	"errors"
	"testing"

	"granary/ledger"
)

func TestMempoolSeesWhatWaits(t *testing.T) {
	n := newNode(t, testGenesis())
	store, head := n.kv.Clone(), n.Head()
	a, b := record("a", 1000, 1), record("b", 1000, 1)
	var m ledger.Mempool
	check := func(tx []byte, want error) {
		t.Helper()
		if err := m.Check(n.State, tx); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	first := announce(t, "alice", 1, a)
	check(first, nil)
	check(first, ledger.ErrNonce)
	check(announce(t, "alice", 1, b), ledger.ErrNonce)
	check(announce(t, "alice", 2, b), ledger.ErrPending)
	check(announce(t, "bob", 1, b), nil)
	check(nil, ledger.ErrMalformed)
	check(announce(t, "carol", 1, record("c", 200e6, 1)), nil)
	if !n.kv.Equal(store) || n.Head() != head {
		t.Fatal("checking changed the state")
	}
	n.accept(t, first)
	// A block has come: what waits is checked again.
	check(announce(t, "alice", 2, b), ledger.ErrPending)
	check(announce(t, "bob", 1, b), nil)
	check(announce(t, "bob", 1, b), ledger.ErrNonce)
}

func TestMempoolCountsSpentCredits(t *testing.T) {
	g := testGenesis()
	g.Grants[0].Credits = 2500
	n := newNode(t, g)
	r := record("a", 1000, 1)
	at := n.accept(t, announce(t, "bob", 1, r))
	n.certify(t, 1, to(at, r))
	var m ledger.Mempool
	for nonce, want := range []error{0: ledger.ErrNonce, 1: nil, 2: nil, 3: ledger.ErrCredits} {
		if err := m.Check(n.State, announce(t, "alice", uint64(nonce), r)); !errors.Is(err, want) {
			t.Errorf("extension %d: %v, want %v", nonce, err, want)
		}
	}
}

func BenchmarkMempoolCheck(b *testing.B) {
	n := newNode(b, testGenesis())
	tx := announce(b, "alice", 1, record("a", 1000, 1))
	b.ReportAllocs()
	for b.Loop() {
		var m ledger.Mempool
		if err := m.Check(n.State, tx); err != nil {
			b.Fatal(err)
		}
	}
}
