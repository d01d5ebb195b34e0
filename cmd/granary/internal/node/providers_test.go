package node_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"granary/cmd/granary/internal/node"
	"granary/ledger"
	"granary/ledger/chain"
	"granary/ledger/light"
)

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// TestLedgerIsReadFromWhomTheDHTNames: a light node whose network file names one
// validator goes on reading from another node of the chain when that is gone.
func TestLedgerIsReadFromWhomTheDHTNames(t *testing.T) {
	t.Parallel() // most of it is waiting
	genesis := oneValidator(t)
	var b [2]byte
	rand.Read(b[:])
	ip := func(i byte) netip.Addr { return netip.AddrFrom4([4]byte{127, 100 + b[0]%100, b[1], i}) }
	port := freePort(t, ip(1))

	open := func(cfg node.Config) *node.Node {
		t.Helper()
		cfg.Dir, cfg.Genesis, cfg.Devnet = t.TempDir(), genesis, true
		n, err := node.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() }) //nolint:errcheck // closed before, or not what is tested
		return n
	}
	validator := open(node.Config{
		Identity: key("validator"), IP: ip(1),
		Validator: &node.Validator{Consensus: key("consensus"), Port: port},
	})
	st, err := validator.Status()
	if err != nil {
		t.Fatal(err)
	}
	full := open(node.Config{
		Identity: key("full"), IP: ip(2), Bootstrap: st.Addrs,
		Validator: &node.Validator{Consensus: key("no validator's"), Peers: []string{fmt.Sprintf("%s@%s:%d", chain.NodeID(ledger.KeyOf(key("validator"))), ip(1), port)}},
	})
	reader := open(node.Config{Identity: key("reader"), IP: ip(3), Bootstrap: st.Addrs})
	until := func(what string, so func(full, reader node.Status) bool) {
		t.Helper()
		for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			a, err := full.Status()
			if err != nil {
				t.Fatal(err)
			}
			b, err := reader.Status()
			if err != nil {
				t.Fatal(err)
			}
			if so(a, b) {
				return
			}
			if time.Since(began) > 90*time.Second {
				t.Fatalf("waiting for %s: %+v, %+v", what, a.Consensus, b.Ledger)
			}
		}
	}
	until("the chain at the full node, and its head at the reader, from both", func(full, reader node.Status) bool {
		return !full.Consensus.Syncing && reader.Ledger.Height > 0 && reader.Ledger.Providers == 2
	})
	if err := validator.Close(); err != nil {
		t.Fatal(err)
	}
	// Nobody makes heights now. That is more than nobody answering.
	until("a stale head", func(_, reader node.Status) bool {
		return reader.Ledger.State == light.Stale && reader.Ledger.Providers == 1
	})
}

// oneValidator is a network of a single validator.
func oneValidator(t *testing.T) ledger.Genesis {
	t.Helper()
	pub, err := crypto.UnmarshalEd25519PublicKey(key("validator").Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	genesis := ledger.Genesis{ChainID: "granary-test", Time: time.Now().UTC().Truncate(time.Second), Params: ledger.DevnetParams()}
	genesis.Params.Heartbeat = time.Second
	proof, err := ledger.Prove(genesis.ChainID, ledger.KeyOf(key("consensus")), key("attest"))
	if err != nil {
		t.Fatal(err)
	}
	genesis.Validators = []ledger.Validator{{
		Name: "validator", Power: 1, Consensus: ledger.KeyOf(key("consensus")), Attest: ledger.KeyOf(key("attest")), Proof: proof, Peer: ledger.PeerID(id),
	}}
	v := &genesis.Validators[0]
	if v.Proof, err = ledger.Prove(genesis.ChainID, v.Consensus, key("attest")); err != nil {
		t.Fatal(err)
	}
	return genesis
}

// openAlone opens a light node of a network of which nobody else runs.
func openAlone(t *testing.T, dir string) *node.Node {
	t.Helper()
	n, err := node.Open(t.Context(), node.Config{
		Dir: dir, Genesis: oneValidator(t), Devnet: true, Identity: key("alone"), IP: netip.MustParseAddr("127.0.0.1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func freePort(t *testing.T, ip netip.Addr) int {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(ip, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
