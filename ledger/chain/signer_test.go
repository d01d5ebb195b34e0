package chain_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/libs/protoio"
	"github.com/cometbft/cometbft/privval"
	privvalproto "github.com/cometbft/cometbft/proto/tendermint/privval"
	"github.com/cometbft/cometbft/types"

	"granary/ledger"
	"granary/ledger/chain"
)

// sign is a signer in a process of its own: it has the key of validator i, keeps
// what it signed last beside the network, and ends with its standard input.
func sign(n *network, i int) error {
	state := filepath.Join(n.dir, "signer.json")
	pv := privval.NewFilePV(cmted25519.PrivKey(key("consensus %d", i)), filepath.Join(n.dir, "unused.json"), state)
	if _, err := os.Stat(state); err == nil {
		pv = privval.LoadFilePV(filepath.Join(n.dir, "unused.json"), state)
	} else {
		pv.Save()
	}
	go func() {
		os.Stdin.Read(make([]byte, 1)) //nolint:errcheck // its end is what we wait for
		os.Exit(0)
	}()
	for ; ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("unix", signerSocket(n))
		if err != nil {
			continue
		}
		serveSigner(conn, n.genesis.ChainID, pv)
		conn.Close()
	}
}

// serveSigner signs what is asked for until the connection ends. (The engine's own
// SignerServer does not notice that.)
func serveSigner(conn net.Conn, chainID string, pv types.PrivValidator) {
	in, out := protoio.NewDelimitedReader(conn, 1<<20), protoio.NewDelimitedWriter(conn)
	for {
		var ask privvalproto.Message
		if _, err := in.ReadMsg(&ask); err != nil {
			return
		}
		// A refusal is in the answer.
		answer, _ := privval.DefaultValidationRequestHandler(pv, ask, chainID)
		if _, err := out.WriteMsg(&answer); err != nil {
			return
		}
	}
}

func signerSocket(n *network) string { return filepath.Join(n.dir, "s") }

// TestAnotherProcessSigns has the only validator's key in a process of its own,
// which is killed and comes back.
func TestAnotherProcessSigns(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := newProcesses(t, 1, 200*time.Millisecond, "signer")
	cfg := p.config(0)
	cfg.Key = nil
	cfg.Signer = &chain.Signer{Address: "unix://" + signerSocket(p.network), Key: ledger.KeyOf(key("another"))}
	if _, err := chain.Open(t.Context(), cfg); !errors.Is(err, chain.ErrSigner) {
		t.Fatalf("a signer with another key: %v", err)
	}
	cfg.Signer.Key = p.genesis.Validators[0].Consensus
	both := cfg
	both.Key = key("consensus 0")
	if _, err := chain.Open(t.Context(), both); err == nil {
		t.Fatal("a node with a key and a signer")
	}
	c, err := chain.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.nodes[0] = c
	grows := func(what string) {
		t.Helper()
		from := p.head(0)
		index := p.announce(0, what, 1, record(what))
		p.attest(0, 0, p.nonce(0, 0), index, record(what).ID())
		if _, e := p.entry(0, index, ledger.EntryCertified); e.Height == 0 || p.head(0).Size <= from.Size {
			t.Errorf("certified %+v", e)
		}
	}
	grows("signed elsewhere")
	p.kill(0)
	p.run(0, roleEnv+"=signer")
	grows("signed by one that came back")
	if _, err := os.Stat(filepath.Join(cfg.Dir, "data", "signed.json")); err == nil {
		t.Error("this node keeps what another signed last")
	}
	p.stop(0)
	p.kill(0)

	// Nobody waits for a signer for ever.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := chain.Open(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("no signer: %v", err)
	}
}
