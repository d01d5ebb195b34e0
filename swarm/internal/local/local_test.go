package local_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"granary/swarm/internal/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ownGroup is a group of the test alone: its port is free now.
func ownGroup(t *testing.T) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	return netip.AddrPortFrom(netip.MustParseAddr("239.192.152.144"), pc.LocalAddr().(*net.UDPAddr).AddrPort().Port())
}

type heard struct {
	hash local.Hash
	from netip.AddrPort
}

func open(t *testing.T, group netip.AddrPort, ip string) (*local.Node, chan heard) {
	t.Helper()
	all := make(chan heard, 100)
	n, err := local.Open(local.Config{Group: group, IP: netip.MustParseAddr(ip), Heard: func(h local.Hash, from netip.AddrPort) {
		select {
		case all <- heard{h, from}:
		default:
		}
	}})
	if err != nil {
		t.Skipf("this machine does not let us: %v", err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n, all
}

func TestOthersHearAndTheTellerDoesNot(t *testing.T) {
	group := ownGroup(t)
	a, heardByA := open(t, group, "127.0.0.1")
	_, heardByB := open(t, group, "127.0.0.1")
	hashes := make([]local.Hash, 45) // three messages
	for i := range hashes {
		hashes[i][0] = byte(i)
	}
	got := map[local.Hash]bool{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for len(got) < len(hashes) { // datagrams may be lost
		if err := a.Tell(ctx, 4748, hashes...); err != nil {
			t.Skipf("no multicast on loopback: %v", err)
		}
		wait := time.After(time.Second)
		for waiting := true; waiting && len(got) < len(hashes); {
			select {
			case h := <-heardByB:
				if h.from != netip.MustParseAddrPort("127.0.0.1:4748") {
					t.Fatalf("heard of %v", h.from)
				}
				got[h.hash] = true
			case <-wait:
				waiting = false
			case <-ctx.Done():
				t.Fatal("waited in vain for what was told")
			}
		}
	}
	if len(heardByA) > 0 {
		t.Error("it hears itself")
	}
}

func TestOnlyMulticastCounts(t *testing.T) {
	group := ownGroup(t)
	a, _ := open(t, group, "127.0.0.1")
	_, all := open(t, group, "127.0.0.1")
	const said = "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: ff00000000000000000000000000000000000000\r\n\r\n"
	straight, err := net.Dial("udp4", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), group.Port()).String())
	if err != nil {
		t.Fatal(err)
	}
	defer straight.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for { // until what was told after it has come
		if _, err := straight.Write([]byte(said)); err != nil {
			t.Fatal(err)
		}
		if err := a.Tell(ctx, 4748, local.Hash{1}); err != nil {
			t.Skipf("no multicast on loopback: %v", err)
		}
		select {
		case h := <-all:
			if h.hash != (local.Hash{1}) {
				t.Fatalf("heard %x, which was sent to one address", h.hash)
			}
			return
		case <-time.After(time.Second):
		case <-ctx.Done():
			t.Fatal("waited in vain")
		}
	}
}
