package swarm_test

import (
	"fmt"
	"net/netip"
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
// libtorrent, which deselects parity. It prints medians and their ratio, and the
// processor time of a fetcher alone, whose seeder is libtorrent, on disk.
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
		var aloneCPU, otherCPU []time.Duration
		for range turns {
			took, _ := timed(func() { fetchInto(t, seeder.Addr(), newBlock(t, p.bundle)) })
			memory = append(memory, took)
			took, _ = fetchToDisk(t, seeder.Addr(), p)
			disk = append(disk, took)
			_, cpu := fetchToDisk(t, stock, p)
			aloneCPU = append(aloneCPU, cpu)
			took, cpu = libtorrentFetch(t, path, stock.String())
			other, otherCPU = append(other, took), append(otherCPU, cpu)
		}
		size := float64(k*erasure.RowSize) / (1 << 20)
		rate := func(d []time.Duration) float64 { return size / median(d).Seconds() }
		t.Logf("%3.0f MiB: memory %4.0f MiB/s, disk %4.0f, libtorrent %4.0f: %.2f and %.2f times; CPU of the fetcher %v, libtorrent %v, %.2f times",
			size, rate(memory), rate(disk), rate(other), rate(memory)/rate(other), rate(disk)/rate(other),
			median(aloneCPU).Round(time.Millisecond), median(otherCPU).Round(time.Millisecond),
			median(aloneCPU).Seconds()/median(otherCPU).Seconds())
	}
}

func fetchToDisk(t *testing.T, from netip.AddrPort, p published) (took, cpu time.Duration) {
	t.Helper()
	store := openStoreIn(t)
	b, err := store.Put(testContext(t), p.bundle)
	if err != nil {
		t.Fatal(err)
	}
	took, cpu = timed(func() { fetchInto(t, from, b) })
	if err := store.Delete(testContext(t), p.id()); err != nil {
		t.Fatal(err)
	}
	return took, cpu
}

func fetchInto(t *testing.T, from netip.AddrPort, b swarm.Block) {
	t.Helper()
	s := open(t)
	torrent := add(t, s, b)
	torrent.AddPeers(from)
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
