package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
	"granary/sampling"
	"granary/sampling/kad"
)

// nothing is what a flooder serves.
type nothing struct{}

func (nothing) Bundle(erasure.ID) (erasure.Bundle, error) { return erasure.Bundle{}, kad.ErrNotHeld }

func (nothing) Row(erasure.ID, int) ([]byte, []erasure.Root, error) { return nil, nil, kad.ErrNotHeld }

func (nothing) Held(erasure.ID) erasure.PieceSet { return erasure.PieceSet{} }

// flood is a program, `flood NETWORK IP ID`: it asks every bootstrap peer of a
// network for rows of a block, 16 at once, until it is killed. It prints a line
// when each has been asked 100 times.
func flood() {
	if err := flooding(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func flooding(file, ip, block string) error {
	n, err := config.LoadNetwork(file)
	if err != nil {
		return err
	}
	id, err := erasure.ParseID(block)
	if err != nil {
		return err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	ctx := context.Background()
	h, err := kad.Open(ctx, kad.Config{Chain: n.ChainID(), Key: key, IP: netip.MustParseAddr(ip), Bootstrap: n.Bootstrap, Client: true}, nothing{})
	if err != nil {
		return err
	}
	var work, asked sync.WaitGroup
	for _, addr := range n.Bootstrap {
		info, err := peer.AddrInfoFromString(addr)
		if err != nil {
			return err
		}
		asked.Add(1)
		var times atomic.Int64
		for range 16 {
			work.Go(func() {
				for {
					_, _, _ = h.Row(ctx, info.ID, id, 0) // whatever comes of it
					if times.Add(1) == 100 {
						asked.Done()
					}
				}
			})
		}
	}
	asked.Wait()
	fmt.Println("all were asked")
	work.Wait()
	return nil
}

// slowest makes 20 tests of a block and returns how long the slowest took,
// which of so few is the 99th percentile.
func slowest(t *testing.T, nd *devnet.Node, ref node.Ref) time.Duration {
	t.Helper()
	var took []int64
	for range 20 {
		v, err := nd.Client.Verify(t.Context(), ref, node.VerifyOptions{}, nil)
		if err != nil || v.Verdict != sampling.Available {
			t.Errorf("verdict %s, because %s, %v; want available", v.Verdict, v.Reason, err)
		}
		took = append(took, v.TookMS)
	}
	slices.Sort(took)
	t.Logf("verdicts after %v ms", took)
	return time.Duration(slices.Max(took)) * time.Millisecond
}
