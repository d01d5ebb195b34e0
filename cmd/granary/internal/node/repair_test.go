package node_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"granary/blobstore"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
	"granary/ledger"
)

// TestFailedRebuildLeavesOnlyTheShare: rows that were fetched to compute others
// are owed to nobody, and nothing else would ever drop them.
func TestFailedRebuildLeavesOnlyTheShare(t *testing.T) {
	const have, owe = 20, 5 // of the first pieces; the last one is owed and lacking
	for _, c := range []struct {
		name string
		lend int64
		want bool // the block is pinned, too
		held int
	}{
		{"custody alone", 0, false, owe},
		{"some of it lent", 1 << 30, false, have},
		{"also pinned", 0, true, have},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			id := partlyHeld(t, dir, have, c.want)
			if err := node.RememberLend(dir, c.lend); err != nil {
				t.Fatal(err)
			}
			n, err := node.Open(t.Context(), node.Config{
				Dir: dir, Identity: key("custodian"), IP: netip.MustParseAddr("127.0.0.1"), Devnet: true, Quota: 6 << 20,
				Genesis: lonelyGenesis(t),
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := n.Close(); err != nil {
					t.Error(err)
				}
			})
			b, err := node.Stored(n, id)
			if err != nil {
				t.Fatal(err)
			}
			g := b.Geometry()
			owed := erasure.NewPieceSet(g.Pieces())
			for p := range owe {
				owed.Add(p)
			}
			owed.Add(g.Pieces() - 1)
			// The rows do not fit the quota.
			if err := node.Rebuild(t.Context(), n, b, owed); !errors.Is(err, blobstore.ErrQuota) {
				t.Errorf("rebuilt with %v", err)
			}
			if got := b.Held().Count(); got != c.held {
				t.Errorf("%d pieces held, want %d", got, c.held)
			}
		})
	}
}

// TestNobodyHoldsWhatIsBeingDropped: a get that begins while a block is dropped
// sees it as it is afterwards.
func TestNobodyHoldsWhatIsBeingDropped(t *testing.T) {
	n := node.Holdable()
	id := erasure.ID{1}
	dropping, dropped := make(chan struct{}), false
	go func() {
		_ = node.UnlessHeld(n, id, func() error {
			close(dropping)
			runtime.Gosched()
			dropped = true
			return nil
		})
	}()
	<-dropping
	end := n.Hold(id)
	if !dropped {
		t.Error("a block was held while it was dropped")
	}
	if err := node.UnlessHeld(n, id, func() error { return errors.New("dropped") }); err != nil {
		t.Error("a block that is held:", err)
	}
	end()
	if err := node.UnlessHeld(n, id, func() error { return errors.New("dropped") }); err == nil {
		t.Error("a block that nobody holds any more was not dropped")
	}
}

// partlyHeld stores the first pieces of an announced block of 8 MiB in dir.
func partlyHeld(t *testing.T, dir string, pieces int, pinned bool) erasure.ID {
	t.Helper()
	s, err := blobstore.Open(t.Context(), dir, blobstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Import(t.Context(), "owed", bytes.NewReader(make([]byte, 8<<20)), nil)
	if err != nil {
		t.Fatal(err)
	}
	drop := b.Held()
	for p := range pieces {
		drop.Remove(p)
	}
	err = errors.Join(b.DropPieces(t.Context(), drop), node.Owe(t.Context(), b, 1, time.Now(), 30))
	if pinned {
		err = errors.Join(err, node.NewShelf(s, 0).Pin(t.Context(), b.ID()))
	}
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return b.ID()
}

// lonelyGenesis is of a network of whose validators none is there.
func lonelyGenesis(t *testing.T) ledger.Genesis {
	t.Helper()
	g := ledger.Genesis{ChainID: "granary-test", Time: time.Now().UTC().Truncate(time.Second), Params: ledger.DevnetParams()}
	pub, err := crypto.UnmarshalEd25519PublicKey(key("gone").Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	v := ledger.Validator{Name: "gone", Power: 1, Peer: ledger.PeerID(id), Consensus: ledger.KeyOf(key("consensus")), Attest: ledger.KeyOf(key("attest"))}
	if v.Proof, err = ledger.Prove(g.ChainID, v.Consensus, key("attest")); err != nil {
		t.Fatal(err)
	}
	g.Validators = []ledger.Validator{v}
	return g
}
