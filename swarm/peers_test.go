package swarm_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"granary/erasure"
	"granary/swarm"
)

func corrupt(c *swarm.Config) { c.Corrupt = true }

func TestACorruptSeederIsBannedAndTheFetchCompletes(t *testing.T) {
	for _, k := range []int{100, 1025} { // pieces of one and of four rows
		p := random(t, k)
		liar, honest, leecher := open(t, corrupt), open(t), open(t)
		lies := add(t, liar, newBlock(t, p.bundle))
		add(t, honest, whole(t, p))
		b := newBlock(t, p.bundle)
		torrent := add(t, leecher, b)
		torrent.AddPeers(liar.Addr())
		done := make(chan error, 1)
		go func() { done <- torrent.FetchAny(testContext(t), nil) }()
		banned := func() bool { return slices.Contains(leecher.Banned(), liar.Addr().Addr()) }
		waitFor(t, "the liar is banned", banned)
		torrent.AddPeers(honest.Addr())
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.recovered(t), p.content) {
			t.Fatal("content differs")
		}
		if st := torrent.Status(); st.Wasted == 0 || st.Wasted > 1<<20 {
			t.Errorf("k = %d: %d bytes wasted on the liar, want some and at most 1 MiB", k, st.Wasted)
		}
		if sent := lies.Status().Written; sent > 1<<20 {
			t.Errorf("k = %d: the liar got rid of %d bytes, want at most 1 MiB", k, sent)
		}
		if got := len(leecher.Banned()); got != 1 {
			t.Errorf("%d addresses banned, want one: %v", got, leecher.Banned())
		}
		checkShutOut(t, liar.Addr().Addr(), leecher)
	}
}

func TestALiarThatCallsInIsShutOut(t *testing.T) {
	p := random(t, 100)
	// On all addresses an IPv4 caller may appear as ::ffff:a.b.c.d.
	leecher := open(t, func(c *swarm.Config) { c.IP = netip.Addr{} })
	liar, honest := open(t, corrupt), open(t)
	add(t, honest, whole(t, p))
	b := newBlock(t, p.bundle)
	torrent := add(t, leecher, b)
	done := make(chan error, 1)
	go func() { done <- torrent.FetchAny(testContext(t), nil) }()
	lies := add(t, liar, newBlock(t, p.bundle))
	waitFor(t, "the liar is banned", func() bool {
		lies.AddPeers(leecher.Addr())
		return slices.Contains(leecher.Banned(), liar.Addr().Addr())
	})
	checkShutOut(t, liar.Addr().Addr(), leecher)
	torrent.AddPeers(honest.Addr(), liar.Addr())
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := leecher.Banned(); len(got) != 1 {
		t.Errorf("banned %v, want the liar alone", got)
	}
}

func TestBansOfBeforeHold(t *testing.T) {
	p := random(t, 20)
	banned := open(t)
	add(t, banned, whole(t, p))
	mapped := netip.AddrFrom16(banned.Addr().Addr().As16()) // the other form of the same address
	leecher := open(t, func(c *swarm.Config) { c.Banned = []netip.Addr{mapped} })
	if got := leecher.Banned(); !slices.Equal(got, []netip.Addr{banned.Addr().Addr()}) {
		t.Errorf("%v are banned, want %v", got, banned.Addr().Addr())
	}
	checkShutOut(t, banned.Addr().Addr(), leecher)
	if _, err := leecher.Describe(testContext(t), p.id(), []netip.AddrPort{banned.Addr()}); err == nil {
		t.Error("a banned peer was asked")
	}
}

// checkShutOut connects from a banned address and expects to be cut off.
func checkShutOut(t *testing.T, from netip.Addr, s *swarm.Swarm) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Timeout: 5 * time.Second}
	c, err := d.DialContext(t.Context(), "tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil { // the engine would wait 4 s for a handshake
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); errors.Is(err, io.EOF) || isReset(err) {
		return
	} else {
		t.Errorf("a banned address may connect: %v", err)
	}
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

func TestLiarsAmongHonestPeers(t *testing.T) {
	p := random(t, 1500) // pieces of four rows, which several peers may fill together
	honest, leecher := open(t, func(c *swarm.Config) { c.UploadRate = 16 << 20 }), open(t)
	add(t, honest, whole(t, p))
	b := newBlock(t, p.bundle)
	torrent := add(t, leecher, b)
	torrent.AddPeers(honest.Addr())
	var lies []*swarm.Torrent
	for range 3 {
		liar := open(t, corrupt)
		lies = append(lies, add(t, liar, newBlock(t, p.bundle)))
		torrent.AddPeers(liar.Addr())
	}
	if err := torrent.FetchAny(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.recovered(t), p.content) {
		t.Fatal("content differs")
	}
	if slices.Contains(leecher.Banned(), honest.Addr().Addr()) {
		t.Error("the honest peer was banned")
	}
	st := torrent.Status()
	for _, l := range lies {
		t.Logf("a liar sent %d KiB", l.Status().Written>>10)
	}
	t.Logf("read %.2f times k rows, %d bytes wasted", float64(st.Read)/(1500*erasure.RowSize), st.Wasted)
	if st.Wasted > 8<<20 {
		t.Errorf("%d bytes wasted, want at most 8 MiB for three liars", st.Wasted)
	}
}

func TestPrivatePeersAreNotDialled(t *testing.T) {
	p := random(t, 5)
	seeder := open(t)
	add(t, seeder, whole(t, p))
	strict := open(t, func(c *swarm.Config) { c.AllowPrivate = false })
	torrent := add(t, strict, newBlock(t, p.bundle))
	torrent.AddPeers(seeder.Addr())
	strict.Remove(p.id())
	if _, err := strict.Describe(testContext(t), p.id(), []netip.AddrPort{seeder.Addr()}); err == nil {
		t.Error("described by a private peer")
	}
	if n := torrent.Addresses(); n != 0 {
		t.Errorf("%d addresses kept, want none", n)
	}
}

func TestAddPeersKeepsPublicAddressesOnce(t *testing.T) {
	p := random(t, 5)
	torrent := add(t, open(t, func(c *swarm.Config) { c.AllowPrivate = false }), newBlock(t, p.bundle))
	for _, c := range []struct {
		addr string
		want int // kept in all
	}{
		{"203.0.113.7:4748", 1},
		{"[::ffff:203.0.113.7]:4748", 1},
		{"203.0.113.7:4749", 2},
		{"203.0.113.7:0", 2},
		{"10.1.2.3:4748", 2},
		{"100.64.0.1:4748", 2},
		{"127.0.0.1:4748", 2},
		{"169.254.1.1:4748", 2},
		{"0.0.0.0:4748", 2},
		{"224.0.0.1:4748", 2},
		{"255.255.255.255:4748", 2},
		{"[::1]:4748", 2},
		{"[fe80::1%eth0]:4748", 2},
		{"[fd00::1]:4748", 2},
		{"[64:ff9b::a00:1]:4748", 2},
		{"[2002:a00:1::1]:4748", 2},
		{"[2600::1]:4748", 3},
	} {
		torrent.AddPeers(netip.MustParseAddrPort(c.addr))
		if got := torrent.Addresses(); got != c.want {
			t.Errorf("after %s: %d addresses, want %d", c.addr, got, c.want)
		}
	}
}

func TestAddressesAreBounded(t *testing.T) {
	p := random(t, 5)
	torrent := add(t, open(t), newBlock(t, p.bundle))
	for port := range uint16(1000) {
		torrent.AddPeers(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 45, 0, 1}), 1+port))
	}
	if got := torrent.Addresses(); got != 256 {
		t.Errorf("%d addresses kept, want 256", got)
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	p := random(t, 5)
	seeder, leecher := open(t), open(t)
	s := add(t, seeder, whole(t, p))
	l := add(t, leecher, newBlock(t, p.bundle))
	l.AddPeers(seeder.Addr())
	want := erasure.NewPieceSet(p.geometry().Pieces())
	want.Add(1)
	if err := l.Fetch(testContext(t), want); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	seeder.DropIdle(now)
	if got := s.Status().Peers; got != 1 {
		t.Fatalf("%d peers after a fresh transfer, want 1", got)
	}
	seeder.DropIdle(now.Add(time.Minute))
	if got := s.Status().Peers; got != 1 {
		t.Fatalf("%d peers a minute later, want 1", got)
	}
	seeder.DropIdle(now.Add(3 * time.Minute))
	waitFor(t, "the idle connection is closed", func() bool { return s.Status().Peers == 0 && l.Status().Peers == 0 })
	want.Add(2)
	if err := l.Fetch(testContext(t), want); err != nil {
		t.Fatalf("after it was closed: %v", err)
	}
}

func TestOpenReportsAPortInUse(t *testing.T) {
	first := open(t)
	_, err := swarm.Open(swarm.Config{IP: first.Addr().Addr(), Port: first.Port()})
	if !errors.Is(err, swarm.ErrPortInUse) {
		t.Errorf("got %v, want ErrPortInUse", err)
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	p := random(t, 64)
	seeder, leecher := open(t), open(t)
	add(t, seeder, whole(t, p))
	b := newBlock(t, p.bundle)
	torrent := add(t, leecher, b)
	torrent.AddPeers(seeder.Addr())
	if err := torrent.FetchAny(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*swarm.Swarm{seeder, leecher, leecher} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := leecher.Add(b); !errors.Is(err, swarm.ErrClosed) {
		t.Errorf("Add after Close: got %v, want ErrClosed", err)
	}
}

func TestNoBlockIsUsedAfterClose(t *testing.T) {
	p := random(t, 600)
	source, b := whole(t, p), newBlock(t, p.bundle)
	func() {
		defer goleak.VerifyNone(t, goleak.IgnoreCurrent()) // waits for the engine's goroutines
		seeder, leecher := open(t), open(t)
		add(t, seeder, source)
		torrent := add(t, leecher, b)
		torrent.AddPeers(seeder.Addr())
		done := make(chan error, 1)
		go func() { done <- torrent.FetchAny(testContext(t), nil) }()
		waitFor(t, "rows to flow", func() bool { return torrent.Status().Rows > 20 })
		for s, bl := range map[*swarm.Swarm]*block{leecher: b, seeder: source} {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			bl.shut.Store(true)
		}
		<-done
	}()
	if n := b.late.Load() + source.late.Load(); n > 0 {
		t.Errorf("%d uses after Close", n)
	}
}
