package swarm_test

import (
	"fmt"
	"net/netip"
	"testing"

	"granary/swarm"
)

// These find each other by nothing but the source under test.

func TestLibtorrentAndGranaryMeetAtATracker(t *testing.T) {
	needLibtorrent(t)
	for _, scheme := range []string{"http", "udp"} {
		t.Run(scheme, func(t *testing.T) {
			r, url := openTracker(t, scheme)
			src := using(swarm.Sources{Trackers: []string{url}})
			p, q := random(t, 33), random(t, 33)
			seeder := open(t, src)
			seeder.Offer(p.id(), whole(t, p))
			waitFor(t, "the announcement", func() bool { return r.has(p.id(), seeder.Addr()) })
			dir := t.TempDir()
			if got := libtorrent(t, "fetch", newIP().String(), dir, p.id().Magnet()+"&tr="+url); got != "done" {
				t.Fatalf("libtorrent says %q", got)
			}
			checkFiles(t, dir, p)

			addr := libtorrentSeeder(t, "seed", q, torrentFile(t, q), "--tracker="+url)
			waitFor(t, "libtorrent's announcement", func() bool { return r.has(q.id(), addr) })
			checkFetch(t, open(t, src), q)
		})
	}
}

func TestLibtorrentAndGranaryMeetInTheMainlineDHT(t *testing.T) {
	needLibtorrent(t)
	begin := libtorrentNode(t)
	src := using(swarm.Sources{Mainline: []string{begin}})
	p, q := random(t, 33), random(t, 33)
	seeder := open(t, src)
	seeder.Offer(p.id(), whole(t, p))
	dir := t.TempDir()
	if got := libtorrent(t, "fetch", newIP().String(), dir, p.id().Magnet(), "--dht="+begin); got != "done" {
		t.Fatalf("libtorrent says %q", got)
	}
	checkFiles(t, dir, p)

	libtorrentSeeder(t, "seed", q, torrentFile(t, q), "--dht="+begin)
	checkFetch(t, open(t, src), q)
}

// libtorrentNode starts a node of a DHT of its own.
func libtorrentNode(t *testing.T) string {
	t.Helper()
	ip := newIP()
	var port uint16
	if _, err := fmt.Sscanf(libtorrent(t, "dht", ip.String()), "port %d", &port); err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(ip, port).String()
}

func TestLibtorrentAndGranaryMeetOnTheirOwnNetwork(t *testing.T) {
	if !measured() {
		t.Skip("set GRANARY_SWARM_MEASURE=1: it uses the well-known group, where others may be")
	}
	needLibtorrent(t)
	src := using(swarm.Sources{Local: true})
	p := random(t, 33)
	libtorrentSeeder(t, "seed", p, torrentFile(t, p), "--local")
	checkFetch(t, open(t, src), p)
}
