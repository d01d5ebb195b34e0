package chain_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"granary/ledger"
	"granary/ledger/chain"
)

// bench is the application alone, without an engine.
type bench struct {
	testing.TB
	abci.Application
	height int64
	now    time.Time
	judged []int64 // those heights that it took part in deciding
}

func newBench(t testing.TB, g ledger.Genesis) *bench {
	t.Helper()
	b := &bench{TB: t, now: g.Time}
	a, db, err := chain.NewApplication(filepath.Join(t.TempDir(), "state.db"), g, func(height int64, judged bool) {
		if judged {
			b.judged = append(b.judged, height)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	b.Application = a
	return b
}

// decide has the next height take transactions.
func (b *bench) decide(txs ...[]byte) {
	b.Helper()
	b.height, b.now = b.height+1, b.now.Add(time.Second)
	if _, err := b.FinalizeBlock(b.Context(), &abci.RequestFinalizeBlock{Height: b.height, Time: b.now, Txs: txs}); err != nil {
		b.Fatal(err)
	}
	if _, err := b.Commit(b.Context(), &abci.RequestCommit{}); err != nil {
		b.Fatal(err)
	}
}

// accepts says whether a proposal for the next height, after a time, is good.
func (b *bench) accepts(after time.Duration, txs ...[]byte) bool {
	b.Helper()
	res, err := b.ProcessProposal(b.Context(), &abci.RequestProcessProposal{Height: b.height + 1, Time: b.now.Add(after), Txs: txs})
	if err != nil {
		b.Fatal(err)
	}
	return res.Status == abci.ResponseProcessProposal_ACCEPT
}

// proposes returns what an honest node makes of what waits.
func (b *bench) proposes(after time.Duration, txs ...[]byte) [][]byte {
	b.Helper()
	res, err := b.PrepareProposal(b.Context(), &abci.RequestPrepareProposal{Height: b.height + 1, Time: b.now.Add(after), Txs: txs})
	if err != nil {
		b.Fatal(err)
	}
	return res.Txs
}

func TestProposalWithAnythingRefusedIsRefused(t *testing.T) {
	g := testGenesis(4, time.Second)
	g.Params.AnnounceWindow = 20 * time.Second
	b := newBench(t, g)
	announce := func(chain, who string, nonce uint64, name string) []byte {
		raw, err := ledger.SignAnnounce(chain, key("%s", who), nonce, record(name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	attest := func(index uint64, name string) []byte {
		raw, err := ledger.SignAttest(g.ChainID, attestKey(0), 1, []ledger.Attestation{{Index: index, ID: record(name).ID()}})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	transfer := func(from, to string, nonce uint64) []byte {
		raw, err := ledger.Sign(g.ChainID, key("%s", from), nonce, ledger.Tx{
			Kind: ledger.KindTransfer, Transfer: ledger.Transfer{To: ledger.KeyOf(key("%s", to)), Credits: 1000},
		})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	old := announce(g.ChainID, "alice", 1, "a")
	b.decide(old)
	b.decide() // which gives it its deadline, 20 s on

	good := announce(g.ChainID, "bob", 1, "b")
	flipped := slices.Clone(good)
	flipped[len(flipped)-1] ^= 1
	gives, takes := transfer("alice", "carol", 2), transfer("carol", "dave", 1)
	for _, tt := range []struct {
		name  string
		after time.Duration
		txs   [][]byte
		keeps int // how many of them an honest proposer proposes
	}{
		{"nothing", 1, nil, 0},
		{"a good one", 1, [][]byte{good}, 1},
		{"several", 1, [][]byte{good, gives, takes, attest(1, "a")}, 4},
		{"attested in time", 19 * time.Second, [][]byte{attest(1, "a")}, 1},
		{"attested when it has expired", 20 * time.Second, [][]byte{attest(1, "a")}, 0},
		{"garbage", 1, [][]byte{good, []byte("garbage")}, 1},
		{"empty", 1, [][]byte{{}}, 0},
		{"oversized", 1, [][]byte{bytes.Repeat([]byte{0x40}, ledger.MaxTx+1), good}, 1},
		{"badly signed", 1, [][]byte{flipped}, 0},
		{"of another chain", 1, [][]byte{announce("another", "bob", 1, "b")}, 0},
		{"decided before", 1, [][]byte{old, good}, 1},
		{"twice in a block", 1, [][]byte{good, good}, 1},
		{"spent before it is received", 1, [][]byte{takes, gives}, 1},
		{"attested before it is announced", 1, [][]byte{attest(2, "b"), good}, 1},
		{"attested without power", 1, [][]byte{transfer("nobody", "carol", 1)}, 0},
	} {
		proposal := b.proposes(tt.after, tt.txs...)
		if len(proposal) != tt.keeps || !b.accepts(tt.after, proposal...) {
			t.Errorf("%s: an honest node proposes %d, want %d", tt.name, len(proposal), tt.keeps)
		}
		if got := b.accepts(tt.after, tt.txs...); got != (len(tt.txs) == tt.keeps) {
			t.Errorf("%s: accepted %v", tt.name, got)
		}
	}
	// What was tried leaves no trace: another block is decided than was judged last.
	if !b.accepts(1, gives, takes) {
		t.Error("transfers refused")
	}
	b.decide(good)
	if !b.accepts(1, gives, takes) || b.accepts(1, good) {
		t.Error("the state is not that of the decided block")
	}
}

// TestClockIsHeldAgainstHeightsJudgedHere: those that come by themselves, after a
// partition, say nothing about a clock.
func TestClockIsHeldAgainstHeightsJudgedHere(t *testing.T) {
	b := newBench(t, testGenesis(4, time.Second))
	for height := range int64(6) {
		if height%2 == 0 {
			b.accepts(time.Second)
		}
		b.decide()
	}
	if !slices.Equal(b.judged, []int64{1, 3, 5}) {
		t.Errorf("taken part in deciding %v", b.judged)
	}
}
