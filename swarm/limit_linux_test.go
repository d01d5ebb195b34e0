package swarm_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"granary/swarm"
)

// deafSocket accepts no connection and refuses none: its queue is full, so
// dials to it hang as they do to a machine that is gone.
func deafSocket(t *testing.T, ip netip.Addr) netip.AddrPort {
	t.Helper()
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	socket := func() int {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
		check(err)
		t.Cleanup(func() { _ = syscall.Close(fd) })
		return fd
	}
	fd := socket()
	check(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: ip.As4()}))
	check(syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	check(err)
	addr := name.(*syscall.SockaddrInet4)
	for range 2 { // one more than the queue holds
		if err := syscall.Connect(socket(), addr); err != nil && err != syscall.EINPROGRESS {
			t.Fatal(err)
		}
	}
	return netip.AddrPortFrom(ip, uint16(addr.Port))
}

func TestDialsAreBounded(t *testing.T) {
	const maxDials = 4
	p := random(t, 5)
	s := open(t, func(c *swarm.Config) { c.MaxDials = maxDials })
	torrent := add(t, s, newBlock(t, p.bundle))
	fetching(t, torrent)
	for range 16 {
		torrent.AddPeers(deafSocket(t, newIP()))
	}
	most := 0
	waitFor(t, "as many dials as are allowed", func() bool {
		n := dialling(t, s.Addr().Addr())
		if n > maxDials {
			t.Errorf("%d connections being opened, want at most %d", n, maxDials)
		}
		most = max(most, n)
		return most == maxDials
	})
}

// dialling counts the connections from ip that were asked for and not answered.
func dialling(t *testing.T, ip netip.Addr) (n int) {
	t.Helper()
	raw, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	b := ip.As4()
	local := fmt.Sprintf("%02X%02X%02X%02X:", b[3], b[2], b[1], b[0]) // as a little-endian machine prints it
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) > 3 && strings.HasPrefix(f[1], local) && f[3] == "02" { // TCP_SYN_SENT
			n++
		}
	}
	return n
}
