package ledger_test

import (
	"testing"
	"time"

	"granary/ledger"
)

// joining is a fifth validator.
func joining(power int64) ledger.Change {
	v := validators(1, 1, 1, 1, power)[4]
	return ledger.Change{Kind: ledger.ChangeValidator, Validator: v}
}

func (n *node) set(t testing.TB) []ledger.Validator {
	t.Helper()
	set, err := n.Validators()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestThreeOfFourDecide(t *testing.T) {
	n := newNode(t, testGenesis())
	n.refuse(t, sign(t, "alice", 1, ledger.Tx{Kind: ledger.KindPropose, Change: joining(1)}), ledger.ErrNotValidator)
	at := n.accept(t, propose(t, 0, 1, joining(2)))
	n.refuse(t, vote(t, 0, 2, at, true), ledger.ErrAttested)
	n.refuse(t, vote(t, 1, 1, at, false), ledger.ErrAttested)
	n.refuse(t, vote(t, 1, 1, at+1, true), ledger.ErrUnknown)
	n.refuse(t, sign(t, "alice", 1, ledger.Tx{Kind: ledger.KindVote, Vote: ledger.Vote{Proposal: at, Approve: true}}), ledger.ErrNotValidator)
	n.accept(t, vote(t, 1, 1, at, true))
	if open, err := n.Proposals(); err != nil || len(open) != 1 || open[0].Index != at || len(open[0].Voters) != 2 || len(n.set(t)) != 4 {
		t.Fatalf("half agree: %+v, %v", open, err)
	}
	n.accept(t, vote(t, 1, 2, at, false), vote(t, 2, 1, at, true))
	if len(n.set(t)) != 4 {
		t.Fatal("two of four decided")
	}
	last := n.block(t, vote(t, 3, 1, at, true))
	if len(last.Entries) != 2 || last.Entries[1].Kind != ledger.EntryEnacted || last.Entries[1].Enacted != (ledger.Enacted{Proposal: at, Power: 3, Total: 4}) {
		t.Fatalf("three agree: %+v", last.Entries)
	}
	if set := n.set(t); len(set) != 5 || set[4].Power != 2 {
		t.Errorf("set %+v", set)
	}
	n.refuse(t, vote(t, 1, 3, at, true), ledger.ErrExpired)
	if open, err := n.Proposals(); err != nil || len(open) != 0 {
		t.Errorf("still open: %+v, %v", open, err)
	}
	// The new one has 2 of 6: it and three others are more than 2/3, three are not.
	at = n.accept(t, propose(t, 4, 1, ledger.Change{Kind: ledger.ChangeRemove, Remove: validators(1)[0].Consensus}))
	n.accept(t, vote(t, 1, 3, at, true), vote(t, 2, 2, at, true))
	if len(n.set(t)) != 5 {
		t.Fatal("4 of 6 decided")
	}
	n.accept(t, vote(t, 3, 2, at, true))
	if set := n.set(t); len(set) != 4 || set[0].Consensus != validators(1, 1)[1].Consensus {
		t.Errorf("set %+v", set)
	}
	n.refuse(t, propose(t, 0, 2, joining(1)), ledger.ErrNotValidator)
}

func TestProposalsEnd(t *testing.T) {
	n := newNode(t, testGenesis())
	old := n.accept(t, propose(t, 0, 1, joining(1)))
	at := n.accept(t, propose(t, 0, 2, joining(2)))
	n.refuse(t, vote(t, 1, 1, old, true), ledger.ErrExpired)
	n.accept(t, vote(t, 1, 1, at, true))
	n.blockAfter(t, n.Params().VoteWindow)
	n.refuse(t, vote(t, 2, 1, at, true), ledger.ErrExpired)
	if open, err := n.Proposals(); err != nil || len(open) != 0 {
		t.Errorf("open: %+v, %v", open, err)
	}
}

func TestChangesThatCannotBeMade(t *testing.T) {
	n := newNode(t, testGenesis())
	set := n.set(t)
	custody, taken := n.Params(), joining(1)
	custody.Custody++
	taken.Validator.Attest = set[1].Attest
	for what, c := range map[string]ledger.Change{
		"nobody leaves":        {Kind: ledger.ChangeRemove, Remove: ledger.KeyOf(key("alice"))},
		"a key that is in use": taken,
		"nothing changes":      {Kind: ledger.ChangeValidator, Validator: set[0]},
		"custody":              {Kind: ledger.ChangeParams, Params: custody},
		"too much power":       joining(ledger.MaxPower),
		"too many credits":     {Kind: ledger.ChangeGrant, Grant: ledger.Grant{Key: ledger.KeyOf(key("alice")), Credits: ledger.MaxCredits}},
	} {
		t.Run(what, func(t *testing.T) { n.refuse(t, propose(t, 0, 1, c), ledger.ErrChange) })
	}
	one := testGenesis()
	one.Validators = validators(1)
	n = newNode(t, one)
	n.refuse(t, propose(t, 0, 1, ledger.Change{Kind: ledger.ChangeRemove, Remove: one.Validators[0].Consensus}), ledger.ErrChange)
	// Alone it decides at once; what was possible when it was proposed can be so no more.
	n.accept(t, propose(t, 0, 1, joining(1)))
	if len(n.set(t)) != 2 {
		t.Error("the only validator could not decide")
	}
}

func TestVoteThatWouldDecideTheImpossibleIsRefused(t *testing.T) {
	n := newNode(t, testGenesis())
	same := joining(1)
	other := joining(1)
	other.Validator.Consensus, other.Validator.Proof = ledger.KeyOf(key("another")), prove("another", "attest 4")
	first, second := n.accept(t, propose(t, 0, 1, same)), n.accept(t, propose(t, 1, 1, other))
	n.accept(t, vote(t, 1, 2, first, true), vote(t, 0, 2, second, true), vote(t, 2, 1, first, true))
	if len(n.set(t)) != 5 {
		t.Fatal("not decided")
	}
	n.accept(t, vote(t, 2, 2, second, true))
	n.refuse(t, vote(t, 3, 1, second, true), ledger.ErrChange) // attest key and peer are taken now
}

// TestVoteCanBeTakenBackWhatever takes one back from a proposal that those in
// favour would carry by now, if anybody counted, and that cannot be made any more.
func TestVoteCanBeTakenBackWhatever(t *testing.T) {
	g := testGenesis()
	g.Validators = validators(4, 1, 1, 3)
	n := newNode(t, g)
	other := joining(1)
	other.Validator.Consensus, other.Validator.Proof = ledger.KeyOf(key("another")), prove("another", "attest 4")
	at := n.accept(t, propose(t, 0, 1, other))
	n.accept(t, vote(t, 1, 1, at, true), vote(t, 2, 1, at, true)) // 6 of 9
	leaves := n.accept(t, propose(t, 1, 2, ledger.Change{Kind: ledger.ChangeRemove, Remove: g.Validators[3].Consensus}))
	n.accept(t, vote(t, 0, 2, leaves, true), vote(t, 3, 1, leaves, true))
	joins := n.accept(t, propose(t, 1, 3, joining(1)))
	n.accept(t, vote(t, 0, 3, joins, true))
	if set := n.set(t); len(set) != 4 || set[3].Consensus != joining(1).Validator.Consensus {
		t.Fatalf("set %+v", set)
	}
	n.refuse(t, vote(t, 4, 1, at, true), ledger.ErrChange)
	n.accept(t, vote(t, 2, 2, at, false))
	n.refuse(t, vote(t, 2, 3, at, false), ledger.ErrAttested)
}

func TestParametersChangeByVote(t *testing.T) {
	n := newNode(t, testGenesis())
	p := n.Params()
	p.MaxPending, p.Allowance, p.AllowancePerDay, p.NameCost = 1<<20, 1000, 1000, 7
	at := n.accept(t, propose(t, 0, 1, ledger.Change{Kind: ledger.ChangeParams, Params: p}))
	n.accept(t, vote(t, 1, 1, at, true), vote(t, 2, 1, at, true))
	if n.Params() != p {
		t.Errorf("parameters %+v, want %+v", n.Params(), p)
	}
	n.refuse(t, announce(t, "alice", 1, record("large", 1<<20+1, 1)), ledger.ErrFull)
	n.accept(t, announce(t, "newcomer", 1, record("a", 1000, 1)), namingFor(t, "alice", 1, 7, ledger.Naming{Name: "x", Terms: 1}))
}

// TestPowerCountsByTheSetOfTheAnnouncement changes the set while a block is
// pending: it is certified by those who were there when it was announced.
func TestPowerCountsByTheSetOfTheAnnouncement(t *testing.T) {
	n := newNode(t, testGenesis())
	r := record("a", 1000, 1)
	at := n.accept(t, announce(t, "alice", 1, r))
	change := n.accept(t, propose(t, 0, 1, joining(100)))
	n.accept(t, vote(t, 1, 1, change, true), vote(t, 2, 1, change, true))
	n.refuse(t, attest(t, 4, 1, to(at, r)), ledger.ErrNotValidator)
	remove := n.accept(t, propose(t, 4, 1, ledger.Change{Kind: ledger.ChangeRemove, Remove: validators(1)[0].Consensus}))
	if len(n.set(t)) != 4 {
		t.Fatalf("100 of 104 did not decide on entry %d", remove)
	}
	// Validator 0 is gone, but its word on this block counts; so do 1 and 2.
	n.accept(t, attest(t, 0, 2, to(at, r)), attest(t, 1, 2, to(at, r)))
	if n.blockState(t, r).Certified {
		t.Fatal("certified by half of the old set")
	}
	n.accept(t, attest(t, 2, 2, to(at, r)))
	b := n.blockState(t, r)
	if !b.Certified || b.Certificate.Outcome.Power != 3 || b.Certificate.Outcome.Total != 4 {
		t.Errorf("block %+v", b)
	}
	set, err := n.SetOf(at)
	if err != nil || len(set) != 4 || set[0].Consensus != validators(1)[0].Consensus {
		t.Errorf("set of the announcement %+v, %v", set, err)
	}
	// What is announced now is for the new set.
	c := record("c", 1000, 1)
	at = n.accept(t, announce(t, "bob", 1, c))
	n.refuse(t, attest(t, 0, 3, to(at, c)), ledger.ErrNotValidator)
	n.accept(t, attest(t, 4, 2, to(at, c)))
	if !n.blockState(t, c).Certified {
		t.Error("100 of 103 did not certify")
	}
}

func TestRotatedKeyCountsAtOnce(t *testing.T) {
	n := newNode(t, testGenesis())
	r := record("a", 1000, 1)
	at := n.accept(t, announce(t, "alice", 1, r))
	n.refuse(t, rotate(t, "consensus 0", "alice", 2, "fresh"), ledger.ErrNotValidator)
	n.refuse(t, rotate(t, "consensus 0", "attest 0", 1, "consensus 1"), ledger.ErrChange)
	n.refuse(t, rotate(t, "consensus 0", "attest 0", 1, "attest 1"), ledger.ErrChange)
	n.accept(t, rotate(t, "consensus 0", "attest 0", 1, "fresh"))
	if n.set(t)[0].Attest != ledger.KeyOf(key("fresh")) {
		t.Fatal("not rotated")
	}
	// The old key may be stolen; the new one counts also for what was announced before.
	n.refuse(t, attest(t, 0, 2, to(at, r)), ledger.ErrNotValidator)
	n.accept(t, attestAs(t, "fresh", 1, to(at, r)), attest(t, 1, 1, to(at, r)), attest(t, 2, 1, to(at, r)))
	if !n.blockState(t, r).Certified {
		t.Error("not certified")
	}
	g := ledger.Share(testChain, testGenesis().Validators, 0, geometry(t, 1000))
	if again := ledger.Share(testChain, n.set(t), 0, geometry(t, 1000)); !g.Contains(again) || !again.Contains(g) {
		t.Error("another attest key changed the share")
	}
}

// TestNobodyClaimsAnothersAttestKey is for all who could name one: such a key
// would be in use when its owner comes.
func TestNobodyClaimsAnothersAttestKey(t *testing.T) {
	n := newNode(t, testGenesis())
	joins := joining(1)
	for what, proof := range map[string]ledger.Proof{
		"none":                           {},
		"by the validator's present key": prove("consensus 0", "attest 0"),
		"for the validator it is of":     joins.Validator.Proof,
	} {
		t.Run(what, func(t *testing.T) {
			n.refuse(t, sign(t, "attest 0", 1, ledger.Tx{Kind: ledger.KindRotate, Rotation: ledger.Rotation{Attest: joins.Validator.Attest, Proof: proof}}), ledger.ErrSignature)
			claim := joins
			claim.Validator.Consensus, claim.Validator.Proof = ledger.KeyOf(key("mallory")), proof
			n.refuse(t, propose(t, 0, 1, claim), ledger.ErrSignature)
		})
	}
	elsewhere, err := ledger.Prove("granary-other", joins.Validator.Consensus, attestKey(4))
	if err != nil {
		t.Fatal(err)
	}
	other := joins
	other.Validator.Proof = elsewhere
	n.refuse(t, propose(t, 0, 1, other), ledger.ErrSignature)
	n.accept(t, propose(t, 0, 1, joins))
	n.accept(t, rotate(t, "consensus 1", "attest 1", 1, "fresh"))
}

func TestFloodOfOneSenderLeavesRoom(t *testing.T) {
	n := newNode(t, testGenesis())
	var m ledger.Mempool
	waiting := 0
	for nonce := range uint64(ledger.NonceWindow) {
		err := m.Check(n.State, transfer(t, "alice", nonce+1, "dave", 1))
		switch {
		case err == nil:
			waiting++
		case ledger.Code(err) != ledger.Code(ledger.ErrWaiting):
			t.Fatalf("transfer %d: %v", nonce, err)
		}
	}
	if waiting != ledger.MaxWaiting {
		t.Errorf("%d transactions of one sender wait, want %d", waiting, ledger.MaxWaiting)
	}
	if err := m.Check(n.State, transfer(t, "bob", 1, "dave", 1)); err != nil {
		t.Errorf("another sender: %v", err)
	}
	n.blockAfter(t, time.Second)
	if err := m.Check(n.State, transfer(t, "alice", 1, "dave", 1)); err != nil {
		t.Errorf("after the next height: %v", err)
	}
}

// A validator's attest key is stolen while its power is put to the vote: what is
// agreed to afterwards must not bring the stolen key back.
func TestVoteOnPowerDoesNotUndoARotation(t *testing.T) {
	n := newNode(t, testGenesis())
	v := n.set(t)[1]
	v.Power = 2
	at := n.accept(t, propose(t, 0, 1, ledger.Change{Kind: ledger.ChangeValidator, Validator: v}))
	n.accept(t, vote(t, 2, 1, at, true))
	n.accept(t, rotate(t, "consensus 1", "attest 1", 1, "attest new"))
	n.refuse(t, vote(t, 3, 1, at, true), ledger.ErrChange)
	if got := n.set(t)[1]; got.Attest != ledger.KeyOf(key("attest new")) || got.Power != 1 {
		t.Errorf("validator 1 attests by %s with power %d", got.Attest, got.Power)
	}
}

// A vote that replaces a stolen key is not undone by the thief.
func TestVoteOnAKeyOutlastsItsRotation(t *testing.T) {
	n := newNode(t, testGenesis())
	v := n.set(t)[1]
	v.Attest = ledger.KeyOf(key("rescue"))
	var err error
	if v.Proof, err = ledger.Prove(testChain, v.Consensus, key("rescue")); err != nil {
		t.Fatal(err)
	}
	at := n.accept(t, propose(t, 0, 1, ledger.Change{Kind: ledger.ChangeValidator, Validator: v}))
	n.accept(t, rotate(t, "consensus 1", "attest 1", 1, "attest of a thief"))
	n.accept(t, vote(t, 2, 1, at, true), vote(t, 3, 1, at, true))
	if got := n.set(t)[1].Attest; got != v.Attest {
		t.Errorf("validator 1 attests by %s", got)
	}
}

// Nor does leaving give a replaced key its word back.
func TestWhoLeftAttestsByItsLastKey(t *testing.T) {
	n := newNode(t, testGenesis())
	r := record("x", 1<<20, 1)
	at := n.accept(t, announce(t, "alice", 1, r))
	n.accept(t, rotate(t, "consensus 1", "attest 1", 1, "attest new"))
	p := n.accept(t, propose(t, 0, 1, ledger.Change{Kind: ledger.ChangeRemove, Remove: n.set(t)[1].Consensus}))
	n.accept(t, vote(t, 2, 1, p, true), vote(t, 3, 1, p, true))
	n.refuse(t, attest(t, 1, 2, to(at, r)), ledger.ErrNotValidator)
	n.accept(t, sign(t, "attest new", 1, ledger.Tx{Kind: ledger.KindAttest, Attested: []ledger.Attestation{to(at, r)}}))
	if power := n.announcement(t, at).Power; power != 1 {
		t.Errorf("power %d attested", power)
	}
}
