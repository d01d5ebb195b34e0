package chain_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"granary/ledger"
	"granary/ledger/chain"
)

func TestOneDownKeepsCertifyingTwoDownHaltsAndResumes(t *testing.T) {
	t.Parallel() // most of it is waiting
	n := newNetwork(t, 4, 0, 2*time.Second)
	r := record("all up")
	certify := func(name string, nonce uint64, up ...int) {
		t.Helper()
		r = record(name)
		index := n.announce(up[0], "alice", nonce, r)
		for _, v := range up[:3] {
			n.attest(v, v, nonce, index, r.ID())
		}
		n.entry(up[0], index, ledger.EntryCertified)
	}
	certify("all up", 1, 0, 1, 2, 3)

	n.stop(3)
	certify("one down", 2, 0, 1, 2)

	n.stop(2)
	raw, err := ledger.SignAnnounce(n.genesis.ChainID, key("alice"), 3, record("two down"))
	if err != nil {
		t.Fatal(err)
	}
	before := n.head(0)
	n.submit(0, raw) // waits
	if n.head(0) != before {
		t.Error("half of the power moved the head")
	}
	n.start(2)
	n.announced(0, before.Size, record("two down").ID())
	n.start(3)
	n.sameHead(0)
}

func TestFullNodeSyncsFromGenesisAndPublishes(t *testing.T) {
	t.Parallel() // most of it is waiting
	n := newNetwork(t, 4, 1, 2*time.Second)
	for i := range 5 {
		r := record(string(rune('a' + i)))
		index := n.announce(0, "alice", uint64(i+1), r)
		for v := range 3 {
			n.attest(v, v, uint64(i+1), index, r.ID())
		}
		n.entry(0, index, ledger.EntryCertified)
	}
	n.start(4)
	n.sameHead(0)
	if s, err := n.nodes[4].Status(); err != nil || s.Highest == 0 || s.Stuck != nil {
		t.Errorf("%+v, %v: it should have said how far it is", s, err)
	}
	n.announce(4, "bob", 1, record("from the full node"))
	n.sameHead(4)
}

func TestBadTransactionsGetTheirReasonAndNobodyStops(t *testing.T) {
	n := newNetwork(t, 1, 0, time.Second)
	c := n.nodes[0]
	sign := func(chain, who string, nonce uint64, r ledger.Record) []byte {
		t.Helper()
		raw, err := ledger.SignAnnounce(chain, key("%s", who), nonce, r)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	taken := sign(n.genesis.ChainID, "alice", 1, record("a"))
	n.submit(0, taken)
	n.submit(0, taken) // again while it waits, or just after: either is fine
	n.announced(0, 0, record("a").ID())

	good := sign(n.genesis.ChainID, "bob", 1, record("b"))
	flipped := slices.Clone(good)
	flipped[len(flipped)-1] ^= 1
	unknown, err := ledger.SignAttest(n.genesis.ChainID, attestKey(0), 1, []ledger.Attestation{{Index: 99, ID: record("b").ID()}})
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ledger.SignAttest(n.genesis.ChainID, key("mallory"), 1, []ledger.Attestation{{Index: 1, ID: record("a").ID()}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		raw  []byte
		want error
	}{
		{"empty", nil, ledger.ErrMalformed},
		{"garbage", []byte("garbage"), ledger.ErrMalformed},
		{"oversized", bytes.Repeat([]byte{0x40}, ledger.MaxTx+1), ledger.ErrMalformed},
		{"truncated", good[:len(good)-1], ledger.ErrMalformed},
		{"with bytes after it", append(slices.Clone(good), 0), ledger.ErrMalformed},
		{"replayed", taken, ledger.ErrNonce},
		{"badly signed", flipped, ledger.ErrSignature},
		{"signed for another chain", sign("another-chain", "bob", 1, record("b")), ledger.ErrSignature},
		{"second pending", sign(n.genesis.ChainID, "alice", 2, record("c")), ledger.ErrPending},
		{"nonce too far", sign(n.genesis.ChainID, "bob", 1000, record("b")), ledger.ErrNonce},
		{"attests the unknown", unknown, ledger.ErrUnknown},
		{"attests without power", stranger, ledger.ErrNotValidator},
	} {
		if err := c.Submit(t.Context(), tt.raw); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	n.announce(0, "bob", 1, record("b"))
	if err := c.Err(); err != nil {
		t.Error(err)
	}
}

func TestRestartContinues(t *testing.T) {
	n := newNetwork(t, 1, 0, time.Second)
	index := n.announce(0, "alice", 1, record("a"))
	status, err := n.nodes[0].Status()
	if err != nil {
		t.Fatal(err)
	}
	n.stop(0)
	c := n.start(0)
	var at ledger.Head
	if err := c.View(func(s *ledger.State) { at, err = s.HeadAt(status.Height) }); err != nil || at != status.Head {
		t.Errorf("head %+v after the restart (%v), %+v before", at, err, status.Head)
	}
	// A reader that stopped early gets what it has not seen, and what comes.
	if got := n.announced(0, index, record("a").ID()); got != index {
		t.Errorf("entry %d, want %d", got, index)
	}
	n.attest(0, 0, 1, index, record("a").ID())
	_, e := n.entry(0, index, ledger.EntryCertified)
	if e.Outcome.Announcement != index {
		t.Errorf("certified %+v", e.Outcome)
	}
}

func TestAnnouncementExpires(t *testing.T) {
	n := newNetwork(t, 1, 0, 200*time.Millisecond)
	n.stop(0)
	n.genesis.Params.AnnounceWindow = time.Second
	n.dir = t.TempDir()
	n.start(0)
	index := n.announce(0, "alice", 1, record("a"))
	_, e := n.entry(0, index, ledger.EntryExpired)
	if e.Outcome.Announcement != index {
		t.Errorf("expired %+v", e.Outcome)
	}
}

func TestOpenErrors(t *testing.T) {
	n := newNetwork(t, 1, 1, time.Second)
	cfg := n.config(1)
	cfg.Port = n.ports[0]
	if _, err := chain.Open(t.Context(), cfg); !errors.Is(err, chain.ErrPortInUse) {
		t.Errorf("port in use: %v", err)
	}
	cfg = n.config(0)
	cfg.Port = 0
	if _, err := chain.Open(t.Context(), cfg); !errors.Is(err, chain.ErrLocked) {
		t.Errorf("directory in use: %v", err)
	}
	n.stop(0)
	cfg = n.config(0)
	cfg.Genesis.Params.AnnounceWindow += time.Second
	if _, err := chain.Open(t.Context(), cfg); !errors.Is(err, chain.ErrGenesis) {
		t.Errorf("another genesis: %v", err)
	}
}

func TestNetworkThatBeginsLaterIsWaitedFor(t *testing.T) {
	n := newNetwork(t, 1, 0, time.Second)
	n.stop(0)
	n.dir = t.TempDir()
	n.genesis.Time = time.Now().UTC().Add(time.Hour).Truncate(time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := chain.Open(ctx, n.config(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v", err)
	}
	n.genesis.Time = time.Now().UTC().Add(time.Second).Truncate(time.Second)
	n.dir = t.TempDir()
	n.start(0)
	n.announce(0, "alice", 1, record("a"))
}

func TestClosedChainSaysSo(t *testing.T) {
	n := newNetwork(t, 1, 0, time.Hour)
	c := n.nodes[0]
	u := n.until(0, 0, "the first height", func(u chain.Update) bool { return u.Height > 0 })
	waited := make(chan error)
	go func() {
		_, err := c.Wait(context.Background(), 1<<40, u.Head.Size)
		waited <- err
	}()
	n.stop(0)
	if err := <-waited; !errors.Is(err, chain.ErrClosed) {
		t.Errorf("wait: %v", err)
	}
	if err := c.Submit(t.Context(), nil); !errors.Is(err, chain.ErrClosed) {
		t.Errorf("submit: %v", err)
	}
	if _, err := c.LightBlock(0); !errors.Is(err, chain.ErrClosed) {
		t.Errorf("light block: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestCloseLeavesNoGoroutineOfOurs(t *testing.T) {
	n := newNetwork(t, 2, 0, time.Second)
	n.announce(0, "alice", 1, record("a"))
	n.close()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "granary/ledger/chain.") {
			t.Errorf("still there:\n%s", stack)
		}
	}
}
