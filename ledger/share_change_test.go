package ledger_test

import (
	"testing"

	"granary/ledger"
)

// TestSharesOfACertifiedBlockOutlastItsValidators: a validator that leaves owes
// its share of what was certified before, one that joins owes nothing of it, and
// prolonging the keep changes neither.
func TestSharesOfACertifiedBlockOutlastItsValidators(t *testing.T) {
	n := newNode(t, testGenesis())
	before := n.accept(t, announce(t, "alice", 1, record("before", 300*16384, 1)))
	n.certify(t, 1, to(before, record("before", 300*16384, 1)))
	setOf := func(index uint64) []ledger.Validator {
		t.Helper()
		set, err := n.SetOf(index)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	then := setOf(before)

	joins := validators(1, 1, 1, 1, 1)[4]
	proposal := n.accept(t, propose(t, 0, 2, ledger.Change{Kind: ledger.ChangeValidator, Validator: joins}))
	n.accept(t, vote(t, 1, 2, proposal, true))
	n.accept(t, vote(t, 2, 2, proposal, true))
	proposal = n.accept(t, propose(t, 0, 3, ledger.Change{Kind: ledger.ChangeRemove, Remove: then[3].Consensus}))
	for v := range 3 {
		if v != 0 {
			n.accept(t, vote(t, v, 3, proposal, true))
		}
	}
	n.accept(t, vote(t, 4, 1, proposal, true))
	now, err := n.Validators()
	if err != nil || len(now) != 4 || now[3].Consensus != joins.Consensus {
		t.Fatalf("validators %+v, %v", now, err)
	}

	again := n.accept(t, announce(t, "alice", 2, record("before", 300*16384, 1)))
	if b := n.blockState(t, record("before", 300*16384, 1)); b.Certificate.Outcome.Announcement != before || b.Latest.Index != again {
		t.Errorf("block %+v: prolonged by entry %d, certified as of %d", b, again, before)
	}
	if got := setOf(before); len(got) != 4 || got[3].Consensus != then[3].Consensus {
		t.Errorf("the old block is owed by %+v, want %+v", got, then)
	}
	g := geometry(t, 300)
	for v := range then {
		was, is := ledger.Share(testChain, then, v, g), ledger.Share(testChain, setOf(before), v, g)
		if !was.Contains(is) || !is.Contains(was) {
			t.Errorf("the share of validator %d has changed", v)
		}
	}
	later := n.accept(t, announce(t, "bob", 1, record("later", 1000, 1)))
	if got := setOf(later); got[3].Consensus != joins.Consensus {
		t.Errorf("a new block is owed by %+v", got)
	}
}
