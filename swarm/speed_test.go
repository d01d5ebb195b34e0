package swarm_test

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"granary/erasure"
	"granary/swarm"
)

// TestSpeedBesideLibtorrent fetches content over loopback, in turns: Granary
// from Granary, into memory and into a store on disk, and libtorrent from
// libtorrent, which deselects parity. It prints medians and their ratio.
//
//	GRANARY_SWARM_MEASURE=1 go test -run SpeedBeside -v ./swarm
func TestSpeedBesideLibtorrent(t *testing.T) {
	if !measured() {
		t.Skip("takes minutes, and a quiet machine: GRANARY_SWARM_MEASURE=1")
	}
	needLibtorrent(t)
	const turns = 5
	for _, k := range []int{512, 8192} { // 8 and 128 MiB
		p := random(t, k)
		path := torrentFile(t, p)
		stock := libtorrentSeeder(t, "seed-content", p, path)
		seeder := open(t)
		add(t, seeder, whole(t, p))
		var memory, disk, other []time.Duration
		var memoryCPU, otherCPU []time.Duration
		for range turns {
			took, cpu := timed(func() { fetchInto(t, seeder, newBlock(t, p.bundle)) })
			memory, memoryCPU = append(memory, took), append(memoryCPU, cpu)
			store := openStoreIn(t)
			b, err := store.Put(testContext(t), p.bundle)
			if err != nil {
				t.Fatal(err)
			}
			took, _ = timed(func() { fetchInto(t, seeder, b) })
			disk = append(disk, took)
			if err := store.Delete(testContext(t), p.id()); err != nil {
				t.Fatal(err)
			}
			took, cpu = libtorrentFetch(t, path, stock.String())
			other, otherCPU = append(other, took), append(otherCPU, cpu)
		}
		size := float64(k*erasure.RowSize) / (1 << 20)
		rate := func(d []time.Duration) float64 { return size / median(d).Seconds() }
		t.Logf("%3.0f MiB: memory %4.0f MiB/s, disk %4.0f, libtorrent %4.0f: %.2f and %.2f times; CPU %v (both ends), libtorrent %v (leecher)",
			size, rate(memory), rate(disk), rate(other), rate(memory)/rate(other), rate(disk)/rate(other),
			median(memoryCPU).Round(time.Millisecond), median(otherCPU).Round(time.Millisecond))
	}
}

func fetchInto(t *testing.T, from *swarm.Swarm, b swarm.Block) {
	t.Helper()
	s := open(t)
	torrent := add(t, s, b)
	torrent.AddPeers(from.Addr())
	if err := torrent.FetchAny(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// timed returns how long f took and the processor time of this process.
func timed(f func()) (took, cpu time.Duration) {
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	began := time.Now()
	f()
	took = time.Since(began)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	used := func(r syscall.Rusage) time.Duration { return time.Duration(r.Utime.Nano() + r.Stime.Nano()) }
	return took, used(after) - used(before)
}

// libtorrentFetch fetches the content alone; the client times itself.
func libtorrentFetch(t *testing.T, torrent, from string) (took, cpu time.Duration) {
	t.Helper()
	dir := t.TempDir()
	var seconds, busy float64
	line := libtorrent(t, "time-content", newIP().String(), dir, torrent, from)
	if _, err := fmt.Sscanf(line, "done %f %f", &seconds, &busy); err != nil {
		t.Fatalf("libtorrent says %q", line)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
	return time.Duration(seconds * 1e9), time.Duration(busy * 1e9)
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
