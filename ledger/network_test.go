package ledger_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"granary/erasure"
	"granary/ledger"
)

const testChain = "granary-test"

var genesisTime = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// key returns the private key of whoever is called name.
func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func attestKey(validator int) ed25519.PrivateKey { return key(fmt.Sprintf("attest %d", validator)) }

func validators(powers ...int64) []ledger.Validator {
	var set []ledger.Validator
	for i, p := range powers {
		set = append(set, ledger.Validator{
			Name: fmt.Sprintf("validator %d", i), Power: p,
			Consensus: ledger.KeyOf(key(fmt.Sprintf("consensus %d", i))),
			Attest:    ledger.KeyOf(attestKey(i)),
			Proof:     prove(fmt.Sprintf("consensus %d", i), fmt.Sprintf("attest %d", i)),
			Peer:      ledger.PeerID(fmt.Sprintf("peer %d", i)),
		})
	}
	return set
}

// prove has one key say that it belongs to the validator with the other.
func prove(consensus, attest string) ledger.Proof {
	p, err := ledger.Prove(testChain, ledger.KeyOf(key(consensus)), key(attest))
	if err != nil {
		panic(err)
	}
	return p
}

// testGenesis has four equal validators, no fee, and alice, bob and carol with
// 10^12 credits.
func testGenesis() ledger.Genesis {
	g := ledger.Genesis{ChainID: testChain, Time: genesisTime, Validators: validators(1, 1, 1, 1), Params: ledger.DefaultParams()}
	g.Params.Fee = 0
	for _, name := range []string{"alice", "bob", "carol"} {
		g.Grants = append(g.Grants, ledger.Grant{Key: ledger.KeyOf(key(name)), Credits: 1e12})
	}
	return g
}

// record describes the block called name: its roots are no block's, which the
// ledger cannot know.
func record(name string, length int64, keep uint32) ledger.Record {
	return ledger.Record{
		Info: erasure.Info{
			Name: name, Length: length,
			Content: sha256.Sum256([]byte("content " + name)), Parity: sha256.Sum256([]byte("parity " + name)),
			ProofHash: sha256.Sum256([]byte("proof " + name)),
		},
		Keep:  keep,
		Peers: []ledger.PeerID{ledger.PeerID("peer of " + name)},
	}
}

func announce(t testing.TB, who string, nonce uint64, r ledger.Record) []byte {
	t.Helper()
	raw, err := ledger.SignAnnounce(testChain, key(who), nonce, r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func attest(t testing.TB, validator int, nonce uint64, list ...ledger.Attestation) []byte {
	t.Helper()
	raw, err := ledger.SignAttest(testChain, attestKey(validator), nonce, list)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// sign returns any other transaction.
func sign(t testing.TB, who string, nonce uint64, tx ledger.Tx) []byte {
	t.Helper()
	raw, err := ledger.Sign(testChain, key(who), nonce, tx)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func transfer(t testing.TB, who string, nonce uint64, to string, credits int64) []byte {
	t.Helper()
	return sign(t, who, nonce, ledger.Tx{Kind: ledger.KindTransfer, Transfer: ledger.Transfer{To: ledger.KeyOf(key(to)), Credits: credits}})
}

// naming pays what a name costs by default.
func naming(t testing.TB, who string, nonce uint64, n ledger.Naming) []byte {
	t.Helper()
	return namingFor(t, who, nonce, int64(n.Terms)*nameCost, n)
}

func namingFor(t testing.TB, who string, nonce uint64, pay int64, n ledger.Naming) []byte {
	t.Helper()
	return sign(t, who, nonce, ledger.Tx{Kind: ledger.KindName, Pay: pay, Naming: n})
}

func propose(t testing.TB, validator int, nonce uint64, c ledger.Change) []byte {
	t.Helper()
	return sign(t, fmt.Sprintf("attest %d", validator), nonce, ledger.Tx{Kind: ledger.KindPropose, Change: c})
}

func vote(t testing.TB, validator int, nonce, proposal uint64, approve bool) []byte {
	t.Helper()
	return sign(t, fmt.Sprintf("attest %d", validator), nonce, ledger.Tx{Kind: ledger.KindVote, Vote: ledger.Vote{Proposal: proposal, Approve: approve}})
}

// rotate is of the validator with a consensus key.
func rotate(t testing.TB, consensus, who string, nonce uint64, to string) []byte {
	t.Helper()
	return sign(t, who, nonce, rotating(consensus, to))
}

func rotating(consensus, to string) ledger.Tx {
	return ledger.Tx{Kind: ledger.KindRotate, Rotation: ledger.Rotation{Attest: ledger.KeyOf(key(to)), Proof: prove(consensus, to)}}
}

// node is a state with its store, and its clock.
type node struct {
	*ledger.State
	kv  *ledger.Memory
	now time.Time
}

func newNode(t testing.TB, g ledger.Genesis) *node {
	t.Helper()
	kv := ledger.NewMemory()
	s, err := ledger.Init(kv, g)
	if err != nil {
		t.Fatal(err)
	}
	return &node{s, kv, g.Time}
}

// block applies the next block, a second after the last.
func (n *node) block(t testing.TB, txs ...[]byte) ledger.Applied {
	t.Helper()
	return n.blockAfter(t, time.Second, txs...)
}

func (n *node) blockAfter(t testing.TB, d time.Duration, txs ...[]byte) ledger.Applied {
	t.Helper()
	n.now = n.now.Add(d)
	applied, err := n.Apply(n.Height()+1, n.now, txs)
	if err != nil {
		t.Fatal(err)
	}
	if len(applied.Results) != len(txs) || applied.Head != n.Head() || applied.First+uint64(len(applied.Entries)) != n.Head().Size {
		t.Fatalf("applied %+v at head %+v", applied, n.Head())
	}
	return applied
}

// accept applies a block whose transactions must all be accepted and returns
// the log index of the first new entry.
func (n *node) accept(t testing.TB, txs ...[]byte) uint64 {
	t.Helper()
	applied := n.block(t, txs...)
	for i, err := range applied.Results {
		if err != nil {
			t.Fatalf("transaction %d: %v", i, err)
		}
	}
	return applied.First
}

// refuse applies a block of one transaction that must be refused for a reason,
// by the mempool too, and change nothing.
func (n *node) refuse(t testing.TB, tx []byte, want error) {
	t.Helper()
	head := n.Head()
	var m ledger.Mempool
	if err := m.Check(n.State, tx); !errors.Is(err, want) {
		t.Errorf("mempool: %v, want %v", err, want)
	}
	if err := n.block(t, tx).Results[0]; !errors.Is(err, want) {
		t.Errorf("refused because: %v, want %v", err, want)
	}
	if n.Head() != head {
		t.Errorf("the head moved from %+v to %+v", head, n.Head())
	}
}

func (n *node) announcement(t testing.TB, index uint64) ledger.Announced {
	t.Helper()
	a, err := n.Announcement(index)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (n *node) blockState(t testing.TB, r ledger.Record) ledger.Block {
	t.Helper()
	b, err := n.Block(r.ID())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (n *node) account(t testing.TB, who string) ledger.Account {
	t.Helper()
	a, err := n.Account(ledger.KeyOf(key(who)))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// certify has validators 0, 1 and 2 of four attest, with the given nonce.
func (n *node) certify(t testing.TB, nonce uint64, at ledger.Attestation) {
	t.Helper()
	for v := range 3 {
		n.accept(t, attest(t, v, nonce, at))
	}
}

func to(index uint64, r ledger.Record) ledger.Attestation {
	return ledger.Attestation{Index: index, ID: r.ID()}
}

// varied returns a hash that depends on all of the numbers.
func varied(numbers ...uint64) (h ledger.Hash) {
	var b []byte
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return sha256.Sum256(b)
}
