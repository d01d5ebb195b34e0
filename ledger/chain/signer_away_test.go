package chain_test

import (
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/types"

	"granary/ledger"
	"granary/ledger/chain"
)

// signerNear is a signer in this process: it connects to a socket until it is closed.
type signerNear struct {
	done chan struct{}
	wg   sync.WaitGroup
}

func startSigner(n *network, pv types.PrivValidator, socket string) *signerNear {
	s := &signerNear{done: make(chan struct{})}
	s.wg.Go(func() {
		for {
			conn, err := net.Dial("unix", socket)
			if err == nil {
				ended := make(chan struct{})
				s.wg.Go(func() {
					select {
					case <-s.done:
					case <-ended:
					}
					conn.Close()
				})
				serveSigner(conn, n.genesis.ChainID, pv)
				close(ended)
			}
			select {
			case <-s.done:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	return s
}

func (s *signerNear) stop() {
	close(s.done)
	s.wg.Wait()
}

// TestNodeFollowsWhileItsSignerIsAway ends the signer of one of four validators. The
// three others decide without it, and its node follows them. Two of four cannot
// decide: the chain waits for the signer of the third, and goes on with it.
func TestNodeFollowsWhileItsSignerIsAway(t *testing.T) {
	t.Parallel() // most of it is waiting
	n := foundNetwork(t, 4, 0, 200*time.Millisecond)
	for i := range 3 {
		n.start(i)
	}
	socket := filepath.Join(n.dir, "s")
	pv := privval.NewFilePV(cmted25519.PrivKey(key("consensus %d", 3)), "", filepath.Join(n.dir, "signed.json"))
	signer := startSigner(n, pv, socket)
	cfg := n.config(3)
	cfg.Key = nil
	cfg.Signer = &chain.Signer{Address: "unix://" + socket, Key: ledger.KeyOf(key("consensus %d", 3))}
	c, err := chain.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.nodes[3] = c
	height := func(i int) int64 {
		s, err := n.nodes[i].Status()
		if err != nil {
			t.Fatal(err)
		}
		return s.Height
	}
	reaches := func(i int, to int64) {
		t.Helper()
		eventually(t, fmt.Sprintf("height %d of node %d", to, i), func() bool { return height(i) >= to })
	}
	reaches(3, 3)
	signer.stop()
	from := height(0)
	reaches(0, from+6)
	reaches(3, from+6)

	n.stop(0)
	signer = startSigner(n, pv, socket)
	defer signer.stop()
	reaches(1, height(1)+3)
	reaches(3, height(3)+3)
	n.stop(3)
}
