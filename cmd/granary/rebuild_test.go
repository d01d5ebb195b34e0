package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"time"

	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
	"granary/sampling"
	"granary/sampling/kad"
)

// stranger is somebody who only asks.
func stranger(t *testing.T, n *devnet.Net) *kad.Host {
	t.Helper()
	h, err := kad.Open(t.Context(), kad.Config{
		Chain: n.Network.ChainID(), Key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), IP: n.Address(2),
		Bootstrap: n.Network.Bootstrap, Client: true, Devnet: true, CustodyCount: devnet.Custody,
	}, nothing{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// servable is the pieces of a block of whose first row some holder that a
// sampler finds hands it over, verified.
func servable(t *testing.T, h *kad.Host, b erasure.Bundle, among erasure.PieceSet) erasure.PieceSet {
	t.Helper()
	verifier, err := erasure.NewVerifier(b.Info, b.Proof)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f := h.NewFinder(ctx, nil)
	defer f.Close()
	g := b.Info.Geometry()
	got := erasure.NewPieceSet(g.Pieces())
	for p := range among.All() {
		row, _ := g.PieceSpan(p)
		if slices.ContainsFunc(f.For(ctx, b.Info.ID(), p, 1), func(holder sampling.Holder) bool {
			data, path, err := f.Row(ctx, holder, b.Info.ID(), row)
			return err == nil && verifier.Row(row, data, path) == nil
		}) {
			got.Add(p)
		}
	}
	return got
}

// TestCustodiansRebuildWhatNobodyHolds: three custodians hold some three of four
// rows of a block, and who had the rest is gone. One who comes later owes some of
// that: it rebuilds it from k other rows, keeps nothing else, and a sampler finds
// it again.
func TestCustodiansRebuildWhatNobodyHolds(t *testing.T) {
	n := networkOf(t, devnet.Plan{Validators: 1, Custodians: 3, RetryRound: time.Second / 5})
	r := publish(t, n, content(t, 100*erasure.RowSize), node.WaitCustody)
	id, err := erasure.ParseID(r.ID)
	if err != nil {
		t.Fatal(err)
	}
	owed := func(nd *devnet.Node, g erasure.Geometry) erasure.PieceSet {
		return sampling.Owed(id, g, sampling.Custody(n.Network.ChainID(), []byte(nd.Peer), devnet.Custody))
	}
	if err := n.Nodes["validator-1"].Client.Withhold(t.Context(), r.ID, ^uint64(0)); err != nil {
		t.Fatal(err)
	}
	if err := n.Nodes["publisher"].Kill(); err != nil {
		t.Fatal(err)
	}
	asker := stranger(t, n)
	var b erasure.Bundle
	waitFor(t, "description of the block", func() bool {
		b, err = asker.Bundle(t.Context(), n.Nodes["custodian-1"].Peer, id)
		return err == nil
	})
	g := b.Info.Geometry()
	lost := erasure.AllPieces(g.Pieces())
	for i := range 3 {
		for p := range owed(n.Nodes[fmt.Sprintf("custodian-%d", i+1)], g).All() {
			lost.Remove(p)
		}
	}
	if got := servable(t, asker, b, lost); got.Count() > 0 {
		t.Errorf("%d of %d pieces are served that nobody should hold", got.Count(), lost.Count())
	}

	late, err := n.Add("late", "seeder")
	if err == nil {
		err = n.Start(t.Context(), late.Name)
	}
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "share of who came late, and no more", func() bool {
		s, err := late.Client.Block(t.Context(), r.ID)
		return err == nil && s.Owed != nil && s.Owed.Held && s.Held == s.Owed.Rows
	})
	again := erasure.NewPieceSet(g.Pieces())
	for p := range owed(late, g).All() {
		if lost.Has(p) {
			again.Add(p)
		}
	}
	t.Logf("%d pieces were held by nobody, of which %d were rebuilt", lost.Count(), again.Count())
	if got := servable(t, asker, b, again); !got.Contains(again) {
		t.Errorf("%d of %d rebuilt pieces are served", got.Count(), again.Count())
	}
}
