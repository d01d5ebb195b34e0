package swarm_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"granary/erasure"
	"granary/swarm"
)

// TestCustodiansShareWhatOneSlowSeederSends: each fetches half of a block's
// groups, so every piece is owed by four or so. The seeder, which may vanish at
// any moment, should have to send each piece about once before all are elsewhere.
//
//	GRANARY_SWARM_MEASURE=1 go test -run CustodiansShare -v ./swarm
func TestCustodiansShareWhatOneSlowSeederSends(t *testing.T) {
	custodians, k, rate := 8, 96, int64(1<<20)
	if measured() {
		custodians, k, rate = 16, 1024, 1<<20
	}
	const groups = 64
	p := random(t, k)
	g := p.geometry()
	seeder := open(t, func(c *swarm.Config) { c.UploadRate = rate })
	source := add(t, seeder, whole(t, p))
	var (
		swarms   []*swarm.Swarm
		torrents []*swarm.Torrent
		blocks   []*block
		owed     []erasure.PieceSet
	)
	all := erasure.NewPieceSet(g.Pieces())
	dice := rand.New(rand.NewPCG(1, 2))
	for range custodians {
		mine := dice.Perm(groups)[:groups/2]
		owes := make(map[int]bool, len(mine))
		for _, group := range mine {
			owes[group] = true
		}
		want := pieces(g, func(i int) bool { return owes[i%groups] })
		all.Union(want)
		s, b := open(t), newBlock(t, p.bundle)
		swarms, blocks, owed = append(swarms, s), append(blocks, b), append(owed, want)
		torrents = append(torrents, add(t, s, b))
	}
	began := time.Now()
	done := make(chan error, custodians)
	for i, torrent := range torrents {
		torrent.AddPeers(seeder.Addr())
		for _, s := range swarms[i+1:] {
			torrent.AddPeers(s.Addr())
		}
		go func() { done <- torrent.Fetch(testContext(t), owed[i]) }()
	}
	size := float64(g.RowsIn(all) * erasure.RowSize)
	waitFor(t, "every piece beside the seeder", func() bool {
		elsewhere := erasure.NewPieceSet(g.Pieces())
		for _, b := range blocks {
			elsewhere.Union(b.heldSet())
		}
		return elsewhere.Contains(all)
	})
	sent := float64(source.Status().Written) / size
	took := time.Since(began).Seconds() * float64(rate) / size
	for range custodians {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("every piece was elsewhere when the seeder had sent %.2f times the block, in %.2f times size / uplink; in the end it had sent %.2f times",
		sent, took, float64(source.Status().Written)/size)
	if sent > 1.6 {
		t.Errorf("the seeder sent %.2f times the block before every piece was elsewhere, want 1.6 at most", sent)
	}
}
