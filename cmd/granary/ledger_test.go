package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"granary/blobstore"
	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
	"granary/ledger"
	"granary/ledger/light"
)

// shortWindow is for blocks that must not be certified: the sooner they expire
// the better.
const shortWindow = 6 * time.Second

var allValidators = []string{"validator-1", "validator-2", "validator-3", "validator-4"}

func TestOneValidatorDownCertifiesTwoHaltAndResume(t *testing.T) {
	n := network(t, 4)
	if err := n.Nodes["validator-1"].Kill(); err != nil {
		t.Fatal(err)
	}
	if r := publish(t, n, content(t, 100_000), node.WaitCertified); r.Status != "certified" || r.Power < 30 {
		t.Fatalf("with one validator down: %+v, want certified by 30 or more", r)
	}
	if err := n.Nodes["validator-2"].Kill(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	data := content(t, 100_000)
	go func() {
		opt := node.PublishOptions{Wait: node.WaitCertified, Patience: patience}
		_, err := n.Nodes["publisher"].Client.Publish(t.Context(), "halted", bytes.NewReader(data), opt, nil)
		done <- err
	}()
	// Two of four make no height; a head three heartbeats old shows it.
	waitFor(t, "stale head while half of the power is down", func() bool {
		st, err := n.Nodes["publisher"].Client.Status(t.Context())
		return err == nil && st.Ledger.State == "stale"
	})
	select {
	case err := <-done:
		t.Fatalf("published while half of the power was down (error %v)", err)
	default:
	}
	if err := n.Start(t.Context(), "validator-2"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatalf("publish after the second validator came back: %v", err)
	}
	// It comes back with a disk that is nearly full: it takes part, abstains, and says so.
	n.Nodes["validator-1"].Args = append(n.Nodes["validator-1"].Args, "--quota", "1MB", "-vv")
	if err := n.Start(t.Context(), "validator-1"); err != nil {
		t.Fatal(err)
	}
	if r := publish(t, n, content(t, 1<<20), node.WaitCertified); r.Status != "certified" || r.Power > 30 {
		t.Errorf("with one full disk: %+v, want certified by 30", r)
	}
	waitFor(t, "word of the validator that abstains", func() bool {
		st, err := n.Nodes["validator-1"].Client.Status(t.Context())
		return err == nil && strings.Contains(st.Abstains, "quota")
	})
	equalHeads(t, n)
	noKeyInLogs(t, n)
}

// noKeyInLogs checks that no private key of any home is in what its node said.
func noKeyInLogs(t *testing.T, n *devnet.Net) {
	t.Helper()
	for name, nd := range n.Nodes {
		log, err := os.ReadFile(nd.Log())
		if err != nil {
			t.Fatal(err)
		}
		keys, err := filepath.Glob(filepath.Join(nd.Home, "keys", "*"))
		if err != nil || len(keys) < 4 {
			t.Fatalf("keys of %s: %v, %v", name, keys, err)
		}
		for _, path := range keys {
			line, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			seed, err := hex.DecodeString(strings.TrimSpace(string(line)))
			if err != nil {
				t.Fatal(err)
			}
			for _, form := range []string{hex.EncodeToString(seed), strings.ToUpper(hex.EncodeToString(seed)), base64.RawStdEncoding.EncodeToString(seed)[:40], fmt.Sprint(seed)} {
				if strings.Contains(string(log), form) {
					t.Errorf("the log of %s has the key %s", name, path)
				}
			}
		}
	}
}

func TestKilledValidatorsKeepTheLedger(t *testing.T) {
	n := network(t, 4)
	data := content(t, 3<<20)
	first := publish(t, n, data, node.WaitCertified)
	// At any step: while the second block is on its way to its certificate.
	second := publish(t, n, content(t, 3<<20), node.WaitAnnounced)
	restart(t, n, "validator-3")
	for _, name := range allValidators {
		if err := n.Nodes[name].Kill(); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Start(t.Context(), allValidators...); err != nil {
		t.Fatal(err)
	}
	equalHeads(t, n)
	publisher := n.Nodes["publisher"].Client
	waitFor(t, "outcome of the block that was on its way", func() bool {
		s, err := publisher.Standing(t.Context(), second.ID)
		return err == nil && s.Status != "pending"
	})
	s, err := publisher.Standing(t.Context(), first.ID)
	if err != nil || s.Status != "certified" || s.Decided != first.Height {
		t.Errorf("the first block after all were killed: %+v, %v; want certified at height %d", s, err, first.Height)
	}
	if got := get(t, n, fmt.Sprintf("#%d", first.Index), "reader"); !bytes.Equal(got, data) {
		t.Error("what #index fetched differs from what was published")
	}
}

// equalHeads waits until all validators show the same log, non-empty.
func equalHeads(t *testing.T, n *devnet.Net) {
	t.Helper()
	var heads []string
	defer func() {
		if t.Failed() {
			t.Logf("heads: %v", heads)
		}
	}()
	waitFor(t, "equal heads of all validators", func() bool {
		heads = nil
		for _, name := range allValidators {
			st, err := n.Nodes[name].Client.Status(t.Context())
			if err != nil || st.Ledger.State != "synced" {
				return false
			}
			heads = append(heads, fmt.Sprintf("%d %s", st.Ledger.Size, st.Ledger.Root))
		}
		return len(slices.Compact(slices.Clone(heads))) == 1
	})
}

// publisherKey is the key that has the devnet's credits.
func publisherKey(t *testing.T, n *devnet.Net) ed25519.PrivateKey {
	t.Helper()
	h, err := config.OpenHome(n.Nodes["publisher"].Home)
	if err != nil {
		t.Fatal(err)
	}
	return h.Publisher
}

// expires waits until the ledger says that a block was not certified in time.
func expires(t *testing.T, n *devnet.Net, id erasure.ID) {
	t.Helper()
	var s node.Standing
	waitFor(t, "expiry", func() bool {
		var err error
		s, err = n.Nodes["publisher"].Client.Standing(t.Context(), id.String())
		return err == nil && s.Status != "pending"
	})
	if s.Status != "expired" || s.Power != 0 {
		t.Errorf("the ledger says %+v, want expired without an attestation", s)
	}
}

func announce(t *testing.T, n *devnet.Net, nonce uint64, info erasure.Info) []byte {
	t.Helper()
	return announceOn(t, n, n.Network.ChainID(), nonce, info)
}

func announceOn(t *testing.T, n *devnet.Net, chain string, nonce uint64, info erasure.Info) []byte {
	t.Helper()
	tx := ledger.Tx{Kind: ledger.KindAnnounce, Record: ledger.Record{
		Info: info, Keep: 1, Peers: []ledger.PeerID{ledger.PeerID(n.Nodes["publisher"].Peer)},
	}}
	tx.Pay = n.Network.Genesis.Params.Price(tx)
	raw, err := ledger.Sign(chain, publisherKey(t, n), nonce, tx)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestBlockThatCannotBeFetchedExpires(t *testing.T) {
	n := networkOf(t, devnet.Plan{Validators: 4, Custodians: 3, AnnounceWindow: shortWindow})
	info := erasure.Info{Name: "nowhere", Length: 100_000, Content: erasure.Root{1}, Parity: erasure.Root{2}, ProofHash: [32]byte{3}}
	if err := n.Nodes["publisher"].Client.Submit(t.Context(), announce(t, n, 1, info)); err != nil {
		t.Fatal(err)
	}
	expires(t, n, info.ID())
}

// TestBlockThatIsNotCleanIsNeverCertified has the publisher serve content whose
// announced parity is that of other content: every content row verifies, and
// only coding all of it again shows the lie.
func TestBlockThatIsNotCleanIsNeverCertified(t *testing.T) {
	n := networkOf(t, devnet.Plan{Validators: 4, Custodians: 3, AnnounceWindow: shortWindow})
	info := plantUnclean(t, n)
	if err := n.Nodes["publisher"].Client.Submit(t.Context(), announce(t, n, 1, info)); err != nil {
		t.Fatal(err)
	}
	expires(t, n, info.ID())
}

// plantUnclean puts such a block into the publisher's home.
func plantUnclean(t *testing.T, n *devnet.Net) erasure.Info {
	t.Helper()
	const length = 400_000
	bundle := commit(t, content(t, length))
	data := content(t, length)
	other := commit(t, data)
	// Content and its proof vector are of other, parity is not.
	lie := erasure.Bundle{
		Info:   erasure.Info{Name: "unclean", Length: length, Content: other.Info.Content, Parity: bundle.Info.Parity},
		Layers: erasure.Layers{Content: other.Layers.Content, Parity: bundle.Layers.Parity},
	}
	nd := n.Nodes["publisher"]
	if err := nd.Kill(); err != nil {
		t.Fatal(err)
	}
	// The coefficients follow from both roots, so the proof vector is made for
	// this pair: the publisher lies as well as it can.
	var err error
	if lie.Proof, err = erasure.ProofVector(t.Context(), lie.Info, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	lie.Info.ProofHash = sha256.Sum256(lie.Proof)
	store, err := blobstore.Open(t.Context(), nd.Home, blobstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := store.Put(t.Context(), lie)
	if err != nil {
		t.Fatal(err)
	}
	g := b.Geometry()
	padded := make([]byte, g.PaddedLength())
	copy(padded, data)
	for p := range g.FilePieces() {
		first, count := g.PieceSpan(p)
		if _, err := b.WritePieceAt(p, padded[first*erasure.RowSize:(first+count)*erasure.RowSize], 0); err != nil {
			t.Fatal(err)
		}
		if err := b.CommitPiece(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(store.Close(), n.Start(t.Context(), "publisher")); err != nil {
		t.Fatal(err)
	}
	return lie.Info
}

func commit(t *testing.T, data []byte) erasure.Bundle {
	t.Helper()
	b, err := erasure.Commit(t.Context(), "unclean", int64(len(data)), bytes.NewReader(data), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBadTransactionsAreRefusedAndNobodyStops(t *testing.T) {
	n := network(t, 4)
	info := erasure.Info{Name: "block", Length: 100_000, Content: erasure.Root{1}, Parity: erasure.Root{2}, ProofHash: [32]byte{3}}
	good := announce(t, n, 1, info)
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	otherChain := announceOn(t, n, "other", 1, info)
	publisher := n.Nodes["publisher"].Client
	for name, test := range map[string]struct {
		raw  []byte
		says string
	}{
		"garbage":       {[]byte("granary"), "malformed"},
		"empty":         {nil, "malformed"},
		"oversized":     {make([]byte, ledger.MaxTx+1), "malformed"},
		"bad signature": {forged, "signature"},
		"other chain":   {otherChain, "signature"},
	} {
		err := publisher.Submit(t.Context(), test.raw)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: error %v, want one about %q", name, err, test.says)
		}
		if status, _ := exit.Of(err); status == 0 {
			t.Errorf("%s: exit status 0", name)
		}
	}
	r := publish(t, n, content(t, 50_000), node.WaitCertified)
	// Its nonce is used now.
	if err := publisher.Submit(t.Context(), good); err == nil || !strings.Contains(err.Error(), "nonce") {
		t.Errorf("used nonce: error %v, want one about the nonce", err)
	}
	if r.Status != "certified" {
		t.Errorf("a good block after all that: %+v, want certified", r)
	}
	equalHeads(t, n)
}

func TestWrongCheckpointIsRefused(t *testing.T) {
	n := network(t, 1)
	r := publish(t, n, content(t, 50_000), node.WaitCertified)
	wrong := n.Network
	wrong.Checkpoint = &light.Checkpoint{Height: 2, Hash: ledger.Hash{1}}
	file := filepath.Join(n.Dir, "wrong.json")
	if err := os.WriteFile(file, wrong.Encode(), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd, err := devnet.Command("verify", r.ID, "--network", file, "--home", filepath.Join(n.Dir, "checker"), "--listen", n.Address(0).String(), "--timeout", "5s")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	out, _ := cmd.CombinedOutput() // the status is looked at below
	if got := cmd.ProcessState.ExitCode(); got != exit.Inconclusive || !strings.Contains(string(out), "checkpoint") {
		t.Errorf("exit status %d with\n%s\nwant %d and a word about the checkpoint", got, out, exit.Inconclusive)
	}
}
