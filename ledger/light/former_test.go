package light_test

import (
	"fmt"
	"testing"

	"granary/ledger"
	"granary/ledger/light"
)

// TestFormerValidatorsAreNotForgottenForNewKeys has one validator leave, and the
// others change their attest keys many times, each of which leaves a set.
func TestFormerValidatorsAreNotForgottenForNewKeys(t *testing.T) {
	c := newSynth(t, 4)
	c.idle(1)
	gone := c.genesis.Validators[3].Consensus
	index := c.state.Head().Size
	c.sign1(t, "attest 0", ledger.Tx{Kind: ledger.KindPropose, Change: ledger.Change{Kind: ledger.ChangeRemove, Remove: gone}})
	for i := 1; i < 3; i++ {
		c.sign1(t, fmt.Sprintf("attest %d", i), ledger.Tx{Kind: ledger.KindVote, Vote: ledger.Vote{Proposal: index, Approve: true}})
	}
	for i := range 3 {
		attest := fmt.Sprintf("attest %d", i)
		for round := range 3 {
			next := fmt.Sprintf("attest %d in round %d", i, round)
			proof, err := ledger.Prove(c.genesis.ChainID, c.genesis.Validators[i].Consensus, key("%s", next))
			if err != nil {
				t.Fatal(err)
			}
			c.sign1(t, attest, ledger.Tx{Kind: ledger.KindRotate, Rotation: ledger.Rotation{Attest: ledger.KeyOf(key("%s", next)), Proof: proof}})
			attest = next
		}
	}
	c.idle(1)
	cl, _ := client(t, c, light.Config{}, honest(c))
	update(t, cl)
	for changes := range 4 {
		former, err := cl.Former(t.Context(), changes)
		if err != nil || len(former) != min(1, changes) || len(former) == 1 && former[0].Consensus != gone {
			t.Errorf("who left at the last %d changes: %+v, %v", changes, former, err)
		}
	}
}
