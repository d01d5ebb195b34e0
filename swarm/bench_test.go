package swarm_test

import (
	"fmt"
	"runtime"
	"testing"

	"granary/erasure"
)

// BenchmarkFetchAny fetches 128 MiB over loopback, memory to memory, both ends
// in this process; "hash" checks pieces by hash alone, "rows" every row's
// combination too.
func BenchmarkFetchAny(b *testing.B) {
	const k = 8192
	p := publish(b, randomBytes(k*erasure.RowSize))
	seeder := open(b)
	add(b, seeder, whole(b, p))
	for _, how := range []string{"hash", "rows"} {
		b.Run(how, func(b *testing.B) {
			bundle := p.bundle
			if how == "hash" {
				bundle.Proof = nil
			}
			b.SetBytes(k * erasure.RowSize)
			b.ReportAllocs()
			for b.Loop() {
				s := open(b)
				torrent := add(b, s, newBlock(b, bundle))
				torrent.AddPeers(seeder.Addr())
				if err := torrent.FetchAny(b.Context(), nil); err != nil {
					b.Fatal(err)
				}
				if err := s.Close(); err != nil {
					b.Error(err)
				}
			}
		})
	}
}

// BenchmarkIdleTorrent adds torrents of 1,024 pieces that nobody asks for, and
// reports the memory each of them keeps.
func BenchmarkIdleTorrent(b *testing.B) {
	const n = 100
	blocks := make([]*block, n)
	for i := range blocks {
		// Alike but for the name, and nothing stored: only the engine's share counts.
		p := publish(b, randomBytes(600*erasure.RowSize))
		p.bundle.Info.Name = fmt.Sprint("block", i)
		blocks[i] = newBlock(b, p.bundle)
		blocks[i].files = nil
		blocks[i].held = erasure.AllPieces(p.geometry().Pieces())
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		before := heap()
		s := open(b)
		for _, bl := range blocks {
			add(b, s, bl)
		}
		b.ReportMetric(float64(heap()-before)/n/1024, "KiB/torrent")
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}
}
