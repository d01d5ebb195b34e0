package swarm_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"granary/swarm"
)

func TestBansAreOfNetworks(t *testing.T) {
	s := open(t, func(c *swarm.Config) {
		c.Banned = []netip.Addr{netip.MustParseAddr("2001:db8:1:2:3::4"), netip.MustParseAddr("::ffff:192.0.2.7"), netip.MustParseAddr("fe80::1%eth0")}
	})
	for ip, want := range map[string]bool{
		"2001:db8:1:2:3::4":          false,
		"2001:db8:1:2:ffff:ffff::1":  false,
		"2001:db8:1:3:3::4":          true,
		"192.0.2.7":                  false,
		"::ffff:192.0.2.7":           false,
		"192.0.2.8":                  true,
		"fe80::2%eth1":               false,
		"::1":                        true,
		"2001:db8:1:2:3::4%whatever": false,
	} {
		if got := s.Admits(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s is let in: %v, want %v", ip, got, want)
		}
	}
}

func TestOneAddressDoesNotTakeAllConnections(t *testing.T) {
	s := open(t, func(c *swarm.Config) { c.MaxConns = 24 })
	const allowed = 9 // half of what is not kept for those that s opens
	var refused atomic.Int32
	call := func(from netip.Addr) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
		c, err := d.DialContext(t.Context(), "tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := c.Read(make([]byte, 1)); errors.Is(err, io.EOF) || isReset(err) {
				refused.Add(1)
			}
		}()
		t.Cleanup(func() {
			_ = c.Close()
			<-done
		})
	}
	greedy := newIP()
	for range allowed + 5 {
		call(greedy)
	}
	waitFor(t, "the others to be refused", func() bool { return refused.Load() >= 5 })
	if n := s.Connections(); n > allowed {
		t.Errorf("%d connections of one address, want at most %d", n, allowed)
	}
}

func BenchmarkAdmits(b *testing.B) {
	var banned []netip.Addr
	for i := range 10_000 {
		banned = append(banned, netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	s, err := swarm.Open(swarm.Config{IP: newIP(), Banned: banned})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		s.Admits(netip.AddrFrom4([4]byte{198, 51, 100, 1}))
	}
}
