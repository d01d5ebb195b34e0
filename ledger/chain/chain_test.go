package chain_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"granary/erasure"
	"granary/ledger"
	"granary/ledger/chain"
)

// patience bounds every wait of these tests. Two cores may be shared with others.
const patience = 90 * time.Second

// key returns the private key of whoever is called name.
func key(name string, args ...any) ed25519.PrivateKey {
	seed := sha256.Sum256(fmt.Appendf(nil, name, args...))
	return ed25519.NewKeyFromSeed(seed[:])
}

func attestKey(i int) ed25519.PrivateKey { return key("attest %d", i) }

// testGenesis is a network of n equal validators where alice can publish.
func testGenesis(n int, heartbeat time.Duration) ledger.Genesis {
	g := ledger.Genesis{
		ChainID: "granary-test",
		Time:    time.Now().UTC().Truncate(time.Second),
		Params:  ledger.DevnetParams(),
	}
	g.Params.Heartbeat, g.Params.Fee = heartbeat, 0
	for i := range n {
		g.Validators = append(g.Validators, testValidator(i))
	}
	return g
}

// testValidator is number i of a test network.
func testValidator(i int) ledger.Validator {
	consensus := ledger.KeyOf(key("consensus %d", i))
	proof, err := ledger.Prove("granary-test", consensus, attestKey(i))
	if err != nil {
		panic(err)
	}
	return ledger.Validator{
		Name: fmt.Sprintf("validator %d", i), Power: 1,
		Consensus: consensus, Attest: ledger.KeyOf(attestKey(i)), Proof: proof,
		Peer: ledger.PeerID(fmt.Sprintf("peer %d", i)),
	}
}

// record describes a block that nobody has: the chain does not look.
func record(name string) ledger.Record {
	return ledger.Record{
		Info: erasure.Info{
			Name: "test", Length: 1 << 20,
			Content: sha256.Sum256([]byte("content " + name)), Parity: sha256.Sum256([]byte("parity " + name)),
			ProofHash: sha256.Sum256([]byte("proof " + name)),
		},
		Keep: 1,
	}
}

// network is a chain of nodes in this process. The first are validators.
type network struct {
	t       testing.TB
	genesis ledger.Genesis
	dir     string
	ip      netip.Addr
	ports   []int
	nodes   []*chain.Chain // nil: down

	silent     bool              // nodes in this process pass no evidence on: see chain.OpenWith
	candidates bool              // nodes beyond the first validators have consensus keys, too
	route      map[[2]int]string // addresses by which a node finds another, if not its own
}

// newNetwork starts validators that all know each other, and leaves room for
// more nodes.
func newNetwork(t testing.TB, validators, more int, heartbeat time.Duration) *network {
	n := foundNetwork(t, validators, more, heartbeat)
	for i := range validators {
		n.start(i)
	}
	return n
}

// foundNetwork is newNetwork before anybody has started.
func foundNetwork(t testing.TB, validators, more int, heartbeat time.Duration) *network {
	n := &network{
		t: t, genesis: testGenesis(validators, heartbeat), dir: t.TempDir(),
		ip: loopback(), nodes: make([]*chain.Chain, validators+more),
	}
	n.ports = freePorts(t, n.ip, validators+more)
	t.Cleanup(n.close)
	return n
}

func (n *network) config(i int) chain.Config {
	cfg := chain.Config{
		Dir: filepath.Join(n.dir, fmt.Sprint(i)), Genesis: n.genesis,
		NodeKey: key("node %d", i), IP: n.ip, Port: n.ports[i], Devnet: true,
	}
	if i < len(n.genesis.Validators) || n.candidates {
		cfg.Key = key("consensus %d", i)
	}
	for j := range n.genesis.Validators {
		address, ok := n.route[[2]int{i, j}]
		if !ok {
			address = fmt.Sprintf("%s:%d", n.ip, n.ports[j])
		}
		cfg.Peers = append(cfg.Peers, chain.NodeID(ledger.KeyOf(key("node %d", j)))+"@"+address)
	}
	if os.Getenv("GRANARY_CHAIN_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", i)
	}
	return cfg
}

func (n *network) start(i int) *chain.Chain {
	n.t.Helper()
	open := chain.Open
	if n.silent {
		open = func(ctx context.Context, cfg chain.Config) (*chain.Chain, error) {
			return chain.OpenWith(ctx, cfg, nil, nil)
		}
	}
	c, err := open(n.t.Context(), n.config(i))
	if err != nil {
		n.t.Fatalf("start node %d: %v", i, err)
	}
	n.nodes[i] = c
	return c
}

func (n *network) stop(i int) {
	n.t.Helper()
	c := n.nodes[i]
	n.nodes[i] = nil
	if err := c.Close(); err != nil {
		n.t.Errorf("stop node %d: %v", i, err)
	}
}

func (n *network) close() {
	for i, c := range n.nodes {
		if c != nil {
			n.stop(i)
		}
	}
}

// submit hands a transaction to node i.
func (n *network) submit(i int, raw []byte) {
	n.t.Helper()
	if err := n.nodes[i].Submit(n.t.Context(), raw); err != nil {
		n.t.Fatalf("submit at node %d: %v", i, err)
	}
}

// until reads node i's updates from entry number from on, until done says so for
// one, and returns that.
func (n *network) until(i int, from uint64, what string, done func(chain.Update) bool) chain.Update {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	for u, err := range n.nodes[i].Updates(ctx, from) {
		if err != nil {
			n.t.Fatalf("node %d, waiting for %s: %v", i, what, err)
		}
		if done(u) {
			return u
		}
	}
	panic("unreachable: Updates ends with an error")
}

// entry waits until node i has an entry of this kind at or after from and
// returns its index.
func (n *network) entry(i int, from uint64, kind ledger.EntryKind) (uint64, ledger.Entry) {
	n.t.Helper()
	var index uint64
	var entry ledger.Entry
	n.until(i, from, kind.String(), func(u chain.Update) bool {
		for k, e := range u.Entries {
			if e.Kind == kind {
				index, entry = u.First+uint64(k), e
				return true
			}
		}
		return false
	})
	return index, entry
}

// announce publishes a record through node i and returns its log index.
func (n *network) announce(i int, who string, nonce uint64, r ledger.Record) uint64 {
	n.t.Helper()
	raw, err := ledger.SignAnnounce(n.genesis.ChainID, key("%s", who), nonce, r)
	if err != nil {
		n.t.Fatal(err)
	}
	from := n.head(i).Size
	n.submit(i, raw)
	return n.announced(i, from, r.ID())
}

// announced waits for the announcement of a block at node i.
func (n *network) announced(i int, from uint64, id erasure.ID) uint64 {
	n.t.Helper()
	var index uint64
	n.until(i, from, "announcement", func(u chain.Update) bool {
		for k, e := range u.Entries {
			if e.Kind == ledger.EntryTx && e.Tx.Kind == ledger.KindAnnounce && e.Tx.Record.ID() == id {
				index = u.First + uint64(k)
				return true
			}
		}
		return false
	})
	return index
}

// attest submits validator v's attestation through node i, once that knows what
// it is about.
func (n *network) attest(i, v int, nonce, index uint64, id erasure.ID) {
	n.t.Helper()
	n.announced(i, index, id)
	raw, err := ledger.SignAttest(n.genesis.ChainID, attestKey(v), nonce, []ledger.Attestation{{Index: index, ID: id}})
	if err != nil {
		n.t.Fatal(err)
	}
	n.submit(i, raw)
}

func (n *network) head(i int) ledger.Head {
	n.t.Helper()
	s, err := n.nodes[i].Status()
	if err != nil {
		n.t.Fatal(err)
	}
	return s.Head
}

// sameHead waits until all running nodes are as high as node i is now, and checks
// that they had the same head there.
func (n *network) sameHead(i int) {
	n.t.Helper()
	status, err := n.nodes[i].Status()
	if err != nil {
		n.t.Fatal(err)
	}
	for j, c := range n.nodes {
		if c == nil {
			continue
		}
		n.until(j, status.Head.Size, "the height of another", func(u chain.Update) bool { return u.Height >= status.Height })
		var got ledger.Head
		if viewed := c.View(func(s *ledger.State) { got, err = s.HeadAt(status.Height) }); viewed != nil || err != nil || got != status.Head {
			n.t.Fatalf("node %d at height %d has head %+v (%v, %v), node %d has %+v", j, status.Height, got, viewed, err, i, status.Head)
		}
	}
}

// loopback returns an address of this machine that no other test is likely to
// have: a port that was free on it a moment ago still is.
func loopback() netip.Addr {
	var b [3]byte
	rand.Read(b[:])
	return netip.AddrFrom4([4]byte{127, 1 + b[0]%250, b[1], 1 + b[2]%250})
}

// freePorts returns ports of ip that were free a moment ago.
func freePorts(t testing.TB, ip netip.Addr, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", netip.AddrPortFrom(ip, 0).String())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func TestFourValidatorsCertify(t *testing.T) {
	n := newNetwork(t, 4, 0, 2*time.Second)
	r := record("first")
	index := n.announce(0, "alice", 1, r)
	for v := range 3 {
		n.attest(v, v, 1, index, r.ID())
	}
	_, e := n.entry(3, index, ledger.EntryCertified)
	if e.Outcome.Announcement != index || e.Outcome.ID != r.ID() || e.Outcome.Power != 3 || e.Outcome.Total != 4 {
		t.Errorf("certified %+v", e.Outcome)
	}
	n.sameHead(3)
}
