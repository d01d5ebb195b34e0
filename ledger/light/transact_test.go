package light_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"granary/ledger"
	"granary/ledger/light"
)

// copies counts the transactions of a kind in a chain's log.
func copies(t *testing.T, c *synth, kind ledger.Kind) (n int) {
	t.Helper()
	for i := range c.state.Head().Size {
		leaf, err := c.state.Leaf(i)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := ledger.ParseEntry(leaf); err != nil {
			t.Fatal(err)
		} else if e.Kind == ledger.EntryTx && e.Tx.Kind == kind {
			n++
		}
	}
	return n
}

// rich is a chain on which alice has an account of which the nonce 1 is used.
func rich(t *testing.T) *synth {
	c := newSynth(t, 4)
	raw, err := ledger.SignAnnounce(c.genesis.ChainID, key("alice"), 1, record("first"))
	if err != nil {
		t.Fatal(err)
	}
	c.add(raw)
	c.idle(1)
	return c
}

func payment() ledger.Tx {
	return ledger.Tx{Kind: ledger.KindTransfer, Transfer: ledger.Transfer{To: ledger.KeyOf(key("bob")), Credits: 1}}
}

// Each provider puts what it is handed into a height, as far as that is possible.
func TestNothingIsPaidTwice(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reply func(refused error) ([]byte, error)
	}{
		{"the reply gets lost", func(error) ([]byte, error) { return nil, errors.New("reply lost") }},
		{"only the first reply gets lost", func(refused error) ([]byte, error) {
			if refused == nil {
				return nil, errors.New("reply lost")
			}
			return txReply(ledger.Code(refused)), nil
		}},
		{"a liar says nonce and passes it on", func(error) ([]byte, error) { return txReply(ledger.Code(ledger.ErrNonce)), nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := rich(t)
			handed := 0
			evil := func(protocol string, req []byte) ([]byte, error) {
				if protocol != light.TxProtocol {
					return light.Serve(c, req), nil
				}
				handed++
				refused := c.Submit(t.Context(), req)
				if refused == nil {
					c.add(bytes.Clone(req))
					c.idle(1)
				}
				return tt.reply(refused)
			}
			cl, _ := client(t, c, light.Config{}, evil, evil, evil)
			update(t, cl)
			tx, raw, err := cl.Transact(t.Context(), key("alice"), payment())
			if err != nil || len(raw) == 0 || tx.Transfer.Credits != 1 {
				t.Errorf("transact: %+v, %v", tx, err)
			}
			if n := copies(t, c, ledger.KindTransfer); n != 1 || handed < 1 {
				t.Errorf("handed over %d times, in the log %d times, want once", handed, n)
			}
		})
	}
}

// TestFalseRefusalIsNotBelieved has one provider refuse what it passes on, or keeps,
// while the others are silent.
func TestFalseRefusalIsNotBelieved(t *testing.T) {
	for _, passedOn := range []bool{true, false} {
		c := rich(t)
		liar := func(protocol string, req []byte) ([]byte, error) {
			if protocol != light.TxProtocol {
				return light.Serve(c, req), nil
			}
			if passedOn && c.Submit(t.Context(), req) == nil {
				c.add(bytes.Clone(req))
				c.idle(1)
			}
			return txReply(ledger.Code(ledger.ErrCredits)), nil
		}
		cl, _ := client(t, c, light.Config{}, liar, down, down)
		update(t, cl)
		ctx := t.Context()
		if !passedOn { // nothing will ever tell
			var cancel func()
			ctx, cancel = context.WithTimeout(ctx, time.Second)
			defer cancel()
		}
		_, _, err := cl.Transact(ctx, key("alice"), payment())
		if passedOn && err != nil || !passedOn && !errors.Is(err, light.ErrUnsure) {
			t.Errorf("passed on %v: %v", passedOn, err)
		}
		if n := copies(t, c, ledger.KindTransfer); (n == 1) != passedOn {
			t.Errorf("passed on %v: %d times in the log", passedOn, n)
		}
	}
}

// refuser answers for c, but refuses every transaction and passes it on, while it is
// lying.
func refuser(t *testing.T, c *synth, lying *bool) func(string, []byte) ([]byte, error) {
	return func(protocol string, req []byte) ([]byte, error) {
		if protocol != light.TxProtocol || !*lying {
			return honest(c)(protocol, req)
		}
		if c.Submit(t.Context(), req) == nil {
			c.add(bytes.Clone(req))
			c.idle(1)
		}
		return txReply(ledger.Code(ledger.ErrCredits)), nil
	}
}

// TestRefusedTransactionIsNotPaidBesideItsCopy has all providers refuse what they
// pass on; whoever signs the same again does not pay again.
func TestRefusedTransactionIsNotPaidBesideItsCopy(t *testing.T) {
	c := rich(t)
	lying := true
	liar := refuser(t, c, &lying)
	cl, _ := client(t, c, light.Config{}, liar, liar, liar)
	update(t, cl)
	if _, _, err := cl.Transact(t.Context(), key("alice"), payment()); !errors.Is(err, ledger.ErrCredits) {
		t.Errorf("all refuse: %v", err)
	}
	lying = false
	update(t, cl)
	if _, _, err := cl.Transact(t.Context(), key("alice"), payment()); err != nil {
		t.Errorf("again: %v", err)
	}
	if n := copies(t, c, ledger.KindTransfer); n != 1 {
		t.Errorf("%d times in the log, want once", n)
	}
	// Another one is another one.
	other := payment()
	other.Transfer.Credits++
	if _, raw, err := cl.Transact(t.Context(), key("alice"), other); err != nil || len(raw) == 0 {
		t.Errorf("another: %v", err)
	} else if tx, err := ledger.ParseTx(raw); err != nil || tx.Nonce != 3 {
		t.Errorf("another: nonce %d, %v, want 3", tx.Nonce, err)
	}
}

// TestRefusedTransactionIsNotPaidBesideTheNext has all providers refuse what they pass
// on; another is sent in its place, which does not get there beside it unasked.
func TestRefusedTransactionIsNotPaidBesideTheNext(t *testing.T) {
	c := rich(t)
	lying := true
	liar := refuser(t, c, &lying)
	cl, _ := client(t, c, light.Config{}, liar, liar, liar)
	update(t, cl)
	if _, _, err := cl.Transact(t.Context(), key("alice"), payment()); !errors.Is(err, ledger.ErrCredits) {
		t.Errorf("all refuse: %v", err)
	}
	lying = false
	other := payment()
	other.Transfer.Credits++
	update(t, cl)
	if _, _, err := cl.Transact(t.Context(), key("alice"), other); !errors.Is(err, ledger.ErrNonce) {
		t.Errorf("in its place: %v", err)
	}
	if n := copies(t, c, ledger.KindTransfer); n != 1 {
		t.Errorf("%d times in the log, want once", n)
	}
	if _, _, err := cl.Transact(t.Context(), key("alice"), other); err != nil {
		t.Errorf("on second thought: %v", err)
	}
}

// txReply is a refusal as it travels.
func txReply(code uint32) []byte { return []byte{0x82, byte(code), 0x60} }

func TestNobodysWordSpendsAnotherNonce(t *testing.T) {
	c := rich(t)
	seen := make(map[string]bool)
	liar := func(protocol string, req []byte) ([]byte, error) {
		if protocol != light.TxProtocol {
			return light.Serve(c, req), nil
		}
		seen[string(req)] = true
		return txReply(ledger.Code(ledger.ErrNonce)), nil
	}
	cl, _ := client(t, c, light.Config{}, liar)
	update(t, cl)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, _, err := cl.Transact(ctx, key("alice"), payment()); !errors.Is(err, light.ErrUnsure) {
		t.Errorf("transact: %v", err)
	}
	if len(seen) != 1 {
		t.Errorf("%d different transactions were signed, want one", len(seen))
	}
}

func TestNonceThatAnotherTransactionUsedIsPassedOver(t *testing.T) {
	c := rich(t)
	other, err := ledger.Sign(c.genesis.ChainID, key("alice"), 2, ledger.Tx{
		Kind: ledger.KindTransfer, Transfer: ledger.Transfer{To: ledger.KeyOf(key("carol")), Credits: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := false
	provider := func(protocol string, req []byte) ([]byte, error) {
		if protocol == light.TxProtocol && !done { // another home of alice was faster
			done = true
			c.add(other)
			c.idle(1)
		}
		return honest(c)(protocol, req)
	}
	cl, _ := client(t, c, light.Config{}, provider)
	update(t, cl)
	_, raw, err := cl.Transact(t.Context(), key("alice"), payment())
	if err != nil {
		t.Fatal(err)
	}
	if tx, err := ledger.ParseTx(raw); err != nil || tx.Nonce != 3 {
		t.Errorf("signed with nonce %d, %v, want 3", tx.Nonce, err)
	}
	// The next one goes on, though that waits still.
	_, raw, err = cl.Transact(t.Context(), key("alice"), payment())
	if tx, perr := ledger.ParseTx(raw); err != nil || perr != nil || tx.Nonce != 4 {
		t.Errorf("signed with nonce %d, %v, want 4", tx.Nonce, errors.Join(err, perr))
	}
}
