package swarm_test

import (
	"bytes"
	"testing"
	"time"

	"granary/erasure"
	"granary/swarm"
)

// TestManyFetchFromOneCappedSeeder lets 16 fetch at once from one seeder with a
// narrow uplink, and each other.
//
//	GRANARY_SWARM_MEASURE=1 go test -run OneCappedSeeder -v ./swarm
func TestManyFetchFromOneCappedSeeder(t *testing.T) {
	fetchers, k, rate := 4, 64, int64(512<<10)
	if measured() {
		fetchers, k, rate = 16, 1024, 1<<20
	}
	p := random(t, k)
	seeder := open(t, func(c *swarm.Config) { c.UploadRate = rate })
	source := add(t, seeder, whole(t, p))
	var swarms []*swarm.Swarm
	var torrents []*swarm.Torrent
	var blocks []*block
	for range fetchers {
		s, b := open(t), newBlock(t, p.bundle)
		swarms, blocks = append(swarms, s), append(blocks, b)
		torrents = append(torrents, add(t, s, b))
	}
	began := time.Now()
	done := make(chan error, fetchers)
	for i, torrent := range torrents {
		torrent.AddPeers(seeder.Addr())
		for _, s := range swarms[i+1:] {
			torrent.AddPeers(s.Addr())
		}
		go func() { done <- torrent.FetchAny(testContext(t), nil) }()
	}
	for range fetchers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	for _, b := range blocks {
		if !bytes.Equal(b.recovered(t), p.content) {
			t.Fatal("content differs")
		}
	}
	size := float64(k * erasure.RowSize)
	ideal := size / float64(rate)
	sent := float64(source.Status().Written) / size
	t.Logf("the last of %d came after %.2f s, %.2f times size / uplink; the seeder sent %.2f times the content",
		fetchers, took.Seconds(), took.Seconds()/ideal, sent)
	if sent > 1.8 {
		t.Errorf("the seeder sent %.2f times the content, want 1.8 at most", sent)
	}
}
