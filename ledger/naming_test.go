package ledger_test

import (
	"errors"
	"strings"
	"testing"

	"granary/erasure"
	"granary/ledger"
)

const nameCost = 1e10

func (n *node) name(t testing.TB, label string) ledger.Name {
	t.Helper()
	got, err := n.Name(label)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestNameIsTakenPointedGivenAndLapses(t *testing.T) {
	n := newNode(t, testGenesis())
	term := n.Params().NameTerm
	a, b := record("a", 1000, 1), record("b", 1000, 1)
	at := n.accept(t, announce(t, "carol", 1, a))
	n.certify(t, 1, to(at, a))
	n.accept(t, announce(t, "carol", 2, b))

	n.refuse(t, naming(t, "alice", 1, ledger.Naming{Name: "archive", Target: a.ID()}), ledger.ErrNotOwner)
	first := n.accept(t, naming(t, "alice", 1, ledger.Naming{Name: "archive", Terms: 1, Target: a.ID()}))
	taken := n.now
	if got := n.name(t, "archive"); got.Owner != ledger.KeyOf(key("alice")) || got.Target != a.ID() || !got.Until.Equal(taken.Add(term)) {
		t.Errorf("taken: %+v", got)
	}
	if got := n.account(t, "alice").Credits; got != 1e12-nameCost {
		t.Errorf("alice has %d", got)
	}
	n.refuse(t, naming(t, "bob", 1, ledger.Naming{Name: "archive", Terms: 1}), ledger.ErrNotOwner)
	n.refuse(t, naming(t, "alice", 2, ledger.Naming{Name: "archive", Target: record("c", 1, 1).ID()}), ledger.ErrUnknown)
	second := n.accept(t, naming(t, "alice", 2, ledger.Naming{Name: "archive", Target: b.ID()}))
	third := n.accept(t, naming(t, "alice", 3, ledger.Naming{Name: "archive", Terms: 2, Owner: ledger.KeyOf(key("bob"))}))
	if got := n.name(t, "archive"); got.Owner != ledger.KeyOf(key("bob")) || got.Target != b.ID() || !got.Until.Equal(taken.Add(3*term)) {
		t.Errorf("given away: %+v", got)
	}
	n.refuse(t, naming(t, "alice", 4, ledger.Naming{Name: "archive", Target: a.ID()}), ledger.ErrNotOwner)
	n.refuse(t, naming(t, "bob", 1, ledger.Naming{Name: "archive", Terms: 8}), ledger.ErrKeep)

	n.blockAfter(t, taken.Add(3*term).Sub(n.now)) // to the millisecond when it lapses
	if n.name(t, "archive").Owned(n.now) {
		t.Error("owned after it lapsed")
	}
	n.refuse(t, naming(t, "bob", 1, ledger.Naming{Name: "archive", Target: a.ID()}), ledger.ErrNotOwner)
	fourth := n.accept(t, naming(t, "carol", 3, ledger.Naming{Name: "archive", Terms: 1}))
	got := n.name(t, "archive")
	if got.Owner != ledger.KeyOf(key("carol")) || got.Target != (erasure.ID{}) || got.Trail.Count != 4 {
		t.Errorf("taken anew: %+v, want carol's, pointing nowhere, 4 entries", got)
	}
	trail, err := n.Trail(ledger.NameKey("archive"), got.Trail.Latest, 10)
	if err != nil || len(trail) != 4 || trail[0] != fourth || trail[1] != third || trail[2] != second || trail[3] != first {
		t.Errorf("trail %v, %v, want %v", trail, err, []uint64{fourth, third, second, first})
	}
	if _, err := n.Trail(ledger.NameKey("archive"), fourth-1, 1); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("trail from another entry: %v", err)
	}
}

func TestNamePriceIsTheParameters(t *testing.T) {
	g := testGenesis()
	g.Grants[0].Credits = nameCost
	n := newNode(t, g)
	for _, pay := range []int64{0, nameCost - 1, nameCost + 1, 2 * nameCost} {
		n.refuse(t, namingFor(t, "alice", 1, pay, ledger.Naming{Name: "x", Terms: 1}), ledger.ErrPrice)
	}
	n.refuse(t, naming(t, "alice", 1, ledger.Naming{Name: "x", Terms: 2}), ledger.ErrCredits)
	n.accept(t, naming(t, "alice", 1, ledger.Naming{Name: "x", Terms: 1}))
}

func TestShorterTermsLeaveNamesThatArePaidFor(t *testing.T) {
	n := newNode(t, testGenesis())
	a := record("a", 1000, 1)
	n.accept(t, announce(t, "carol", 1, a))
	n.accept(t, naming(t, "alice", 1, ledger.Naming{Name: "x", Terms: 10}))
	p := n.Params()
	p.NameTerm /= 2
	at := n.accept(t, propose(t, 0, 1, ledger.Change{Kind: ledger.ChangeParams, Params: p}))
	for v := 1; n.Params() != p && v < 3; v++ {
		n.accept(t, vote(t, v, 1, at, true))
	}
	if n.Params() != p {
		t.Fatal("the terms are not shorter")
	}
	n.refuse(t, naming(t, "alice", 2, ledger.Naming{Name: "x", Terms: 1}), ledger.ErrKeep)
	n.accept(t, naming(t, "alice", 2, ledger.Naming{Name: "x", Target: a.ID()}))
	n.accept(t, naming(t, "alice", 3, ledger.Naming{Name: "x", Owner: ledger.KeyOf(key("bob"))}))
}

func TestNamesAreOfFewCharacters(t *testing.T) {
	for _, good := range []string{"a", "0", "a-b", "era1-mainnet-00000", strings.Repeat("n", ledger.MaxName)} {
		if err := ledger.CheckName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "-", "-a", "a-", "A", "a b", "a.b", "a/b", "@a", "ä", "a\x00", strings.Repeat("n", ledger.MaxName+1)} {
		if err := ledger.CheckName(bad); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("%q: %v, want ErrMalformed", bad, err)
		}
	}
}

func TestNamespaceIsItsOwners(t *testing.T) {
	n := newNode(t, testGenesis())
	r := record("a", 1000, 1)
	r.Namespace = "ethereum"
	n.refuse(t, announce(t, "alice", 1, r), ledger.ErrNotOwner)
	n.accept(t, naming(t, "alice", 1, ledger.Naming{Name: "ethereum", Terms: 1}))
	n.refuse(t, announce(t, "bob", 1, r), ledger.ErrNotOwner)
	n.accept(t, announce(t, "alice", 2, r))
	n.blockAfter(t, n.Params().NameTerm)
	n.refuse(t, announce(t, "alice", 3, r), ledger.ErrNotOwner)
}

func TestTransferMovesCredits(t *testing.T) {
	n := newNode(t, testGenesis())
	n.refuse(t, transfer(t, "alice", 1, "bob", 1e12+1), ledger.ErrCredits)
	n.accept(t, transfer(t, "alice", 1, "dave", 4e11))
	if a, d := n.account(t, "alice"), n.account(t, "dave"); a.Credits != 6e11 || d.Credits != 4e11 || a.Trail.Count != 1 || d.Trail.Count != 1 {
		t.Errorf("alice %+v, dave %+v", a, d)
	}
	n.accept(t, transfer(t, "dave", 1, "alice", 4e11))
	n.refuse(t, transfer(t, "dave", 2, "alice", 1), ledger.ErrCredits)
	if got := n.account(t, "alice").Credits; got != 1e12 {
		t.Errorf("alice has %d, want all of it again", got)
	}
}

func TestTransferHasNoAllowance(t *testing.T) {
	g := testGenesis()
	g.Params.Allowance, g.Params.AllowancePerDay = 1000, 1e6
	n := newNode(t, g)
	n.refuse(t, transfer(t, "dave", 1, "alice", 1), ledger.ErrCredits)
	n.accept(t, transfer(t, "alice", 1, "dave", 5))
	if got := n.account(t, "dave").Credits; got != 5 {
		t.Errorf("dave has %d, want 5", got)
	}
}

func TestAccountsAreBounded(t *testing.T) {
	g := testGenesis()
	g.Grants = []ledger.Grant{{Key: ledger.KeyOf(key("alice")), Credits: ledger.MaxCredits - 10}, {Key: ledger.KeyOf(key("bob")), Credits: 10}}
	n := newNode(t, g)
	for v := range 3 {
		grant := ledger.Change{Kind: ledger.ChangeGrant, Grant: ledger.Grant{Key: ledger.KeyOf(key("bob")), Credits: 5}}
		at := n.accept(t, propose(t, v, 1, grant))
		for other := range 3 {
			if other != v {
				n.accept(t, vote(t, other, uint64(2+v), at, true))
			}
		}
	}
	n.refuse(t, transfer(t, "bob", 1, "alice", 11), ledger.ErrCredits)
	n.accept(t, transfer(t, "bob", 1, "alice", 10))
	if got := n.account(t, "bob").Credits; got != 15 {
		t.Errorf("bob has %d, want 15", got)
	}
}
