package chain_test

import (
	"fmt"
	"testing"
	"time"

	"granary/ledger"
	"granary/ledger/chain"
	"granary/ledger/light"
)

// say submits a validator's transaction through node i and waits for its entry.
func (n *network) say(i, validator int, tx ledger.Tx) uint64 {
	n.t.Helper()
	raw, err := ledger.Sign(n.genesis.ChainID, attestKey(validator), n.nonce(i, validator), tx)
	if err != nil {
		n.t.Fatal(err)
	}
	from := n.head(i).Size
	n.submit(i, raw)
	var index uint64
	n.until(i, from, tx.Kind.String(), func(u chain.Update) bool {
		for k, e := range u.Entries {
			if e.Kind == ledger.EntryTx && e.Tx.Sender == ledger.KeyOf(attestKey(validator)) && e.Tx.Kind == tx.Kind {
				index = u.First + uint64(k)
				return true
			}
		}
		return false
	})
	return index
}

// decide has the first of voters propose a change and the others agree, through
// node i, and waits until the engine votes by the new set.
func (n *network) decide(i int, c ledger.Change, voters ...int) {
	n.t.Helper()
	at := n.say(i, voters[0], ledger.Tx{Kind: ledger.KindPropose, Change: c})
	for _, v := range voters[1:] {
		n.say(i, v, ledger.Tx{Kind: ledger.KindVote, Vote: ledger.Vote{Proposal: at, Approve: true}})
	}
	index, _ := n.entry(i, at, ledger.EntryEnacted)
	var height int64
	n.until(i, 0, "the change", func(u chain.Update) bool { height = u.Height; return u.Head.Size > index })
	n.until(i, index, "the engine's change", func(u chain.Update) bool { return u.Height > height+2 })
}

// TestValidatorsComeAndGo has a node join by vote that synced from its peers, and
// shows that its vote is needed; one that is down leaves; and a light client that
// knows the genesis alone follows through all of it.
func TestValidatorsComeAndGo(t *testing.T) {
	t.Parallel() // most of it is waiting
	n := newNetwork(t, 4, 1, time.Second)
	n.candidates = true
	n.announce(0, "alice", 1, record("before"))
	n.start(4)
	n.sameHead(0)
	fifth := testValidator(4)
	n.decide(0, ledger.Change{Kind: ledger.ChangeValidator, Validator: fifth}, 0, 1, 2)

	// Four of five are needed now, so without 3 each of the others counts.
	n.stop(3)
	r := record("by four of five")
	index := n.announce(4, "bob", 1, r)
	for v := range 5 {
		if v != 3 {
			n.attest(4, v, n.nonce(4, v), index, r.ID())
		}
	}
	if _, e := n.entry(0, index, ledger.EntryCertified); e.Outcome.Total != 5 || e.Outcome.Power != 4 {
		t.Errorf("certified %+v, want 4 of 5", e.Outcome)
	}
	n.sameHead(0)
	n.decide(4, ledger.Change{Kind: ledger.ChangeRemove, Remove: n.genesis.Validators[3].Consensus}, 4, 0, 1, 2)
	n.stop(0)
	n.announce(4, "carol", 1, record("by three of four"))
	n.sameHead(4)

	cl := n.lightClient(light.Config{})
	if s := look(t, cl); s.Agreeing == 0 {
		t.Fatalf("light client: %+v", s)
	}
	set, _, err := cl.Network(t.Context())
	if err != nil || len(set) != 4 || set[3].Name != fifth.Name {
		t.Errorf("validators %+v, %v", set, err)
	}
	former, err := cl.Former(t.Context(), 8)
	if err != nil || len(former) != 1 || former[0].Consensus != n.genesis.Validators[3].Consensus {
		t.Errorf("former validators %+v, %v", former, err)
	}
	// What was certified while it was one, it owes still, and by the shares of then.
	if err := n.nodes[4].View(func(s *ledger.State) {
		if set, err := s.SetOf(index); err != nil || len(set) != 5 || set[3].Consensus != former[0].Consensus {
			t.Errorf("set of an old block %+v, %v", set, err)
		}
	}); err != nil {
		t.Error(err)
	}
}

func (n *network) nonce(i, validator int) uint64 {
	n.t.Helper()
	var account ledger.Account
	var err error
	if viewed := n.nodes[i].View(func(s *ledger.State) { account, err = s.Account(ledger.KeyOf(attestKey(validator))) }); viewed != nil || err != nil {
		n.t.Fatal(fmt.Errorf("account of validator %d: %w, %w", validator, viewed, err))
	}
	return account.Nonce + 1
}
