package ledger_test

import (
	"testing"
	"time"

	"granary/ledger"
)

func TestWordsOfADayAreBounded(t *testing.T) {
	n := newNode(t, testGenesis())
	at := n.accept(t, propose(t, 0, 1, joining(1)))
	for i := range uint64(ledger.MaxWords) {
		n.accept(t, vote(t, 1, i+1, at, i%2 == 0))
	}
	n.refuse(t, vote(t, 1, 99, at, true), ledger.ErrOften)
	n.refuse(t, propose(t, 1, 99, joining(2)), ledger.ErrOften)
	n.refuse(t, rotate(t, "consensus 1", "attest 1", 99, "fresh"), ledger.ErrOften)
	r := record("a", 1000, 1)
	n.accept(t, attest(t, 1, 99, to(n.accept(t, announce(t, "alice", 1, r)), r))) // has no limit
	n.accept(t, vote(t, 2, 1, at, true))                                          // nor have others said anything

	// The day is that of UTC: genesis is at noon.
	n.blockAfter(t, genesisTime.Add(12*time.Hour-time.Millisecond).Sub(n.now))
	n.refuseAfter(t, 0, vote(t, 1, 100, at, true), ledger.ErrOften)
	n.blockAfter(t, time.Millisecond)
	last := n.block(t, vote(t, 1, 100, at, true))
	if last.Results[0] != nil || len(n.set(t)) != 5 {
		t.Errorf("on the next day: %v, %d validators", last.Results[0], len(n.set(t)))
	}
}

// refuseAfter is refuse at a height some time later.
func (n *node) refuseAfter(t testing.TB, later time.Duration, tx []byte, want error) {
	t.Helper()
	if err := n.blockAfter(t, later, tx).Results[0]; ledger.Code(err) != ledger.Code(want) {
		t.Errorf("refused because: %v, want %v", err, want)
	}
}

// TestRotationsInAChainAreBounded is a validator that changes its key again and
// again, each signed by the one before: each makes a copy of the set.
func TestRotationsInAChainAreBounded(t *testing.T) {
	n := newNode(t, testGenesis())
	names := []string{"attest 0", "k1", "k2", "k3", "k4", "k5"}
	rotations := ledger.MaxWords / ledger.RotationWords
	for i := range rotations {
		n.accept(t, rotate(t, "consensus 0", names[i], 1, names[i+1]))
	}
	n.refuse(t, rotate(t, "consensus 0", names[rotations], 1, names[rotations+1]), ledger.ErrOften)
	if got := n.set(t)[0].Attest; got != ledger.KeyOf(key(names[rotations])) {
		t.Errorf("attest key %s", got)
	}
	// The words are the validator's, not the key's.
	n.refuse(t, sign(t, names[rotations], 1, ledger.Tx{Kind: ledger.KindPropose, Change: joining(1)}), ledger.ErrOften)
}
