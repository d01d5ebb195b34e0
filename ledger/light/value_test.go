package light_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"granary/erasure"
	"granary/ledger"
	"granary/ledger/light"
)

// named is a chain on which a block was published and alice, who has an
// allowance, pointed the name x at it some times.
func named(t testing.TB, times int) *synth {
	t.Helper()
	c := newSynth(t, 4)
	c.publish("a")
	c.sign1(t, "alice", ledger.Tx{Kind: ledger.KindAnnounce, Record: record("of alice")})
	for i := range times {
		n := ledger.Naming{Name: "x", Target: record("a").ID()}
		if i == 0 {
			n.Terms = 1
		}
		c.sign1(t, "alice", ledger.Tx{Kind: ledger.KindName, Naming: n})
	}
	c.idle(1)
	return c
}

// sign1 adds a height with one transaction.
func (c *synth) sign1(t testing.TB, who string, tx ledger.Tx) {
	t.Helper()
	a, err := c.state.Account(ledger.KeyOf(key("%s", who)))
	if err != nil {
		t.Fatal(err)
	}
	tx.Pay = c.genesis.Params.Price(tx)
	raw, err := ledger.Sign(c.genesis.ChainID, key("%s", who), a.Nonce+1, tx)
	if err != nil {
		t.Fatal(err)
	}
	c.add(raw)
}

func TestNameIsProvenWithItsHistory(t *testing.T) {
	for _, times := range []int{1, 2, 63, 64, 65, 130} {
		c := named(t, times)
		cl, _ := client(t, c, light.Config{}, honest(c))
		update(t, cl)
		n, err := cl.Name(t.Context(), "x")
		if err != nil || n.Target != record("a").ID() || n.Owner != ledger.KeyOf(key("alice")) || n.Trail.Count != uint64(times) {
			t.Fatalf("name %+v, %v", n, err)
		}
		history, err := cl.NameHistory(t.Context(), n)
		if err != nil || len(history) != times {
			t.Fatalf("%d entries, %v, want %d", len(history), err, times)
		}
		who := ledger.KeyOf(key("alice"))
		a, err := cl.Account(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		if moved, err := cl.AccountHistory(t.Context(), who, a); err != nil || len(moved) != 2 {
			t.Errorf("account history %+v, %v, want an announcement and a payment", moved, err)
		}
	}
}

func TestWhatIsNotThereIsProvenAbsent(t *testing.T) {
	c := named(t, 1)
	cl, _ := client(t, c, light.Config{}, honest(c))
	update(t, cl)
	if _, err := cl.Name(t.Context(), "y"); !errors.Is(err, light.ErrNotInLedger) {
		t.Errorf("name: %v", err)
	}
	if a, err := cl.Account(t.Context(), ledger.PublicKey{1}); err != nil || a != (ledger.Account{}) {
		t.Errorf("account: %+v, %v", a, err)
	}
	if _, err := cl.Find(t.Context(), erasure.ID{1}); !errors.Is(err, light.ErrNotInLedger) {
		t.Errorf("block: %v", err)
	}
}

// TestBlockCannotBeDenied has every provider say that a block was never
// announced: the head says that it was.
func TestBlockCannotBeDenied(t *testing.T) {
	c := named(t, 1)
	denies := func(protocol string, req []byte) ([]byte, error) {
		if len(req) > 1 && req[1] == 3 {
			return []byte{0x82, 2, 0x40}, nil
		}
		return honest(c)(protocol, req)
	}
	cl, _ := client(t, c, light.Config{}, denies, denies, denies)
	update(t, cl)
	if _, err := cl.Find(t.Context(), record("a").ID()); !errors.Is(err, light.ErrUnreachable) {
		t.Errorf("a block that all deny: %v, want ErrUnreachable", err)
	}
}

// TestLiesAboutNamesAreFoundOut alters what one of two providers says; the other
// is believed.
func TestLiesAboutNamesAreFoundOut(t *testing.T) {
	c := named(t, 5)
	old := c.fork()
	c.sign1(t, "alice", ledger.Tx{Kind: ledger.KindName, Naming: ledger.Naming{Name: "x", Target: record("of alice").ID()}})
	c.idle(1)
	other := bytes.Repeat([]byte{7}, 32)
	for what, lie := range map[string]struct {
		kind  byte
		alter func(reply []cbor.RawMessage)
		from  *synth
	}{
		"another target": {4, func(r []cbor.RawMessage) {
			target := record("of alice").ID()
			r[0] = bytes.Replace(r[0], target[:], other, 1)
		}, c},
		"nothing there":     {4, func(r []cbor.RawMessage) { r[0] = cbor.RawMessage{0x40} }, c},
		"an entry left out": {5, func(r []cbor.RawMessage) { r[0] = leaveOut(t, r[0], 2) }, c},
		"an entry twice":    {5, func(r []cbor.RawMessage) { r[0] = double(t, r[0]) }, c},
	} {
		liar := func(protocol string, req []byte) ([]byte, error) {
			raw, err := honest(lie.from)(protocol, req)
			if err != nil || len(req) < 2 || req[1] != lie.kind {
				return raw, err
			}
			return altered(t, raw, lie.alter), nil
		}
		cl, _ := client(t, c, light.Config{}, liar, honest(c))
		update(t, cl)
		n, err := cl.Name(t.Context(), "x")
		if err != nil || n.Target != record("of alice").ID() || n.Trail.Count != 6 {
			t.Fatalf("%s: name %+v, %v", what, n, err)
		}
		history, err := cl.NameHistory(t.Context(), n)
		if err != nil || len(history) != 6 {
			t.Errorf("%s: %d entries, %v", what, len(history), err)
		}
		if len(cl.Liars()) != 1 {
			t.Errorf("%s: liars %v", what, cl.Liars())
		}
	}
	// What was true once is no answer to what is so now.
	cl, _ := client(t, c, light.Config{}, func(protocol string, req []byte) ([]byte, error) {
		if req[1] == 4 {
			var asked []cbor.RawMessage
			var body []cbor.RawMessage
			if err := errors.Join(cbor.Unmarshal(req, &asked), cbor.Unmarshal(asked[1], &body)); err != nil {
				t.Fatal(err)
			}
			size, _ := cbor.Marshal(old.state.Head().Size)
			body[1] = size
			inner, _ := cbor.Marshal(body)
			req, _ = cbor.Marshal([]cbor.RawMessage{asked[0], inner})
		}
		return honest(c)(protocol, req)
	}, honest(c))
	update(t, cl)
	if n, err := cl.Name(t.Context(), "x"); err != nil || n.Trail.Count != 6 || len(cl.Liars()) != 1 {
		t.Errorf("an old value: %+v, %v, liars %v", n, err, cl.Liars())
	}
}

// altered changes the elements of a reply's body.
func altered(t *testing.T, raw []byte, alter func([]cbor.RawMessage)) []byte {
	t.Helper()
	var reply []cbor.RawMessage
	var body []byte
	var elements []cbor.RawMessage
	if err := errors.Join(cbor.Unmarshal(raw, &reply), cbor.Unmarshal(reply[1], &body)); err != nil {
		t.Fatal(err)
	}
	if len(body) == 0 {
		return raw
	}
	if err := cbor.Unmarshal(body, &elements); err != nil {
		t.Fatal(err)
	}
	alter(elements)
	inner, err := cbor.Marshal(elements)
	if err != nil {
		t.Fatal(err)
	}
	out, err := cbor.Marshal([]any{reply[0], inner})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func leaveOut(t *testing.T, list []byte, i int) cbor.RawMessage {
	return relist(t, list, func(all []cbor.RawMessage) []cbor.RawMessage { return append(all[:i:i], all[i+1:]...) })
}

func double(t *testing.T, list []byte) cbor.RawMessage {
	return relist(t, list, func(all []cbor.RawMessage) []cbor.RawMessage { all[3] = all[2]; return all })
}

func relist(t *testing.T, list []byte, change func([]cbor.RawMessage) []cbor.RawMessage) cbor.RawMessage {
	t.Helper()
	var all []cbor.RawMessage
	if err := cbor.Unmarshal(list, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 6 {
		return list
	}
	out, err := cbor.Marshal(change(all))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestProposalsAreProven(t *testing.T) {
	c := newSynth(t, 4)
	c.idle(1)
	v := testGenesis(5).Validators[4]
	c.sign1(t, "attest 0", ledger.Tx{Kind: ledger.KindPropose, Change: ledger.Change{Kind: ledger.ChangeValidator, Validator: v}})
	c.idle(1)
	cl, _ := client(t, c, light.Config{}, honest(c))
	update(t, cl)
	set, _, err := cl.Network(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	open, err := cl.Proposals(t.Context(), set)
	if err != nil || len(open) != 1 || open[0].Change.Validator.Name != v.Name || len(open[0].Voters) != 1 || !open[0].Open(c.now()) {
		t.Fatalf("proposals %+v, %v", open, err)
	}
	for i := 1; i < 3; i++ {
		c.sign1(t, fmt.Sprintf("attest %d", i), ledger.Tx{Kind: ledger.KindVote, Vote: ledger.Vote{Proposal: open[0].Index, Approve: true}})
	}
	c.idle(1)
	update(t, cl)
	if set, _, err = cl.Network(t.Context()); err != nil || len(set) != 5 {
		t.Errorf("set %+v, %v", set, err)
	}
	if open, err = cl.Proposals(t.Context(), set); err != nil || len(open) != 1 || open[0].Open(c.now()) {
		t.Errorf("proposals %+v, %v", open, err)
	}
}
