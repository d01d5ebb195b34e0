package tracker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"granary/swarm/internal/tracker"
)

func addrs(list ...string) []netip.AddrPort {
	var all []netip.AddrPort
	for _, s := range list {
		all = append(all, netip.MustParseAddrPort(s))
	}
	return all
}

func TestParseHTTP(t *testing.T) {
	for _, c := range []struct {
		name, body string
		peers      []netip.AddrPort
		interval   time.Duration
	}{
		{"compact", "d8:intervali1800e5:peers12:\x01\x02\x03\x04\x1a\xe1\x05\x06\x07\x08\x00\x50e", addrs("1.2.3.4:6881", "5.6.7.8:80"), 30 * time.Minute},
		{"cut short", "d8:intervali1800e5:peers7:\x01\x02\x03\x04\x1a\xe1\x05e", addrs("1.2.3.4:6881"), 30 * time.Minute},
		{"dictionaries", "d8:intervali90e5:peersld2:ip7:1.2.3.44:porti6881eed2:ip11:example.org4:porti1eed2:ip3:::14:porti70000eeee", addrs("1.2.3.4:6881"), 90 * time.Second},
		{"IPv6", "d8:intervali90e5:peers0:6:peers618:" + strings.Repeat("\x00", 15) + "\x01\x00\x07e", addrs("[::1]:7"), 90 * time.Second},
		{"no peers", "d8:intervali-5ee", nil, time.Minute},
		{"for ever", "d8:intervali99999999999e5:peers0:e", nil, 24 * time.Hour},
	} {
		got, err := tracker.ParseHTTP([]byte(c.body))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !slices.Equal(got.Peers, c.peers) || got.Interval != c.interval {
			t.Errorf("%s: got %v every %v, want %v every %v", c.name, got.Peers, got.Interval, c.peers, c.interval)
		}
	}
	for _, body := range []string{"", "i1e", "d14:failure reason4:no!\x1be", "d5:peersi1ee5", "<html>"} {
		if _, err := tracker.ParseHTTP([]byte(body)); !errors.Is(err, tracker.ErrTracker) {
			t.Errorf("%q: got %v, want ErrTracker", body, err)
		}
	}
}

func TestWhatAnHTTPTrackerIsTold(t *testing.T) {
	var r tracker.Request
	copy(r.Hash[:], "\x00\xff +&=%0123456789abcd")
	copy(r.PeerID[:], "-GY0100-abcdefghijkl")
	r.Port, r.Left, r.Want, r.Begin, r.Key = 4748, 99, 50, true, 7
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		q := req.URL.Query()
		for key, want := range map[string]string{
			"passkey": "x", "info_hash": string(r.Hash[:]), "peer_id": string(r.PeerID[:]), "port": "4748",
			"left": "99", "numwant": "50", "event": "started", "compact": "1", "uploaded": "0", "downloaded": "0", "key": "00000007",
		} {
			if got := q.Get(key); got != want {
				t.Errorf("%s is %q, want %q", key, got, want)
			}
		}
		fmt.Fprint(w, "d8:intervali1800e5:peers1800:", strings.Repeat("\x01\x02\x03\x04\x1a\xe1", 300), "e")
	}))
	defer s.Close()
	reply, err := tracker.Client{HTTP: s.Client()}.Announce(t.Context(), s.URL+"/announce?passkey=x", r)
	if err != nil {
		t.Fatal(err)
	}
	if len(reply.Peers) != 200 {
		t.Errorf("%d peers taken, want 200 at most", len(reply.Peers))
	}
}

// udpTracker answers like a tracker, after two packets that are none of its
// answers; the first request of each kind is lost.
func udpTracker(t *testing.T, want tracker.Request, path string) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	be := binary.BigEndian
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			b := buf[:n]
			action, id := be.Uint32(b[8:]), b[12:16]
			answer := append(be.AppendUint32(nil, action), id...)
			switch {
			case action == 0 && be.Uint64(b) == 0x41727101980:
				answer = be.AppendUint64(answer, 1234567)
			case action == 1 && be.Uint64(b) == 1234567:
				if string(b[16:36]) != string(want.Hash[:]) || be.Uint64(b[64:]) != uint64(want.Left) || be.Uint32(b[80:]) != 2 ||
					be.Uint32(b[92:]) != uint32(want.Want) || be.Uint16(b[96:]) != want.Port || string(b[98:]) != "\x02"+string(rune(len(path)))+path {
					answer = append(append(be.AppendUint32(nil, 3), id...), "wrong request"...)
					break
				}
				answer = be.AppendUint32(answer, 600)
				answer = append(answer, "\x00\x00\x00\x01\x00\x00\x00\x02\x01\x02\x03\x04\x1a\xe1"...)
			}
			for _, p := range [][]byte{{1}, append(be.AppendUint32(nil, action), 0, 0, 0, 0), answer} {
				if _, err := pc.WriteTo(p, from); err != nil {
					return
				}
			}
		}
	}()
	return pc.LocalAddr().String()
}

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func TestUDPTracker(t *testing.T) {
	r := tracker.Request{Port: 4748, Left: 99, Want: 50, Begin: true}
	copy(r.Hash[:], "abcdefghijklmnopqrst")
	addr := udpTracker(t, r, "/announce?x=1")
	c := tracker.Client{Dial: dial}
	reply, err := c.Announce(t.Context(), "udp://"+addr+"/announce?x=1", r)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(reply.Peers, addrs("1.2.3.4:6881")) || reply.Interval != 10*time.Minute {
		t.Errorf("got %v every %v", reply.Peers, reply.Interval)
	}
	if _, err := c.Announce(t.Context(), "udp://"+addr+"/other", r); !errors.Is(err, tracker.ErrTracker) {
		t.Errorf("got %v, want ErrTracker", err)
	}
}

func TestAnnounceEndsWithItsContext(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0") // answers nothing
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _, _ = pc.ReadFrom(make([]byte, 1500))
		cancel()
	}()
	_, err = tracker.Client{Dial: dial}.Announce(ctx, "udp://"+pc.LocalAddr().String()+"/announce", tracker.Request{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestCheck(t *testing.T) {
	for _, ok := range []string{"http://a/announce", "https://a:1/x", "udp://a:1"} {
		if err := tracker.Check(ok); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "a:80", "udp://a", "ws://a/", "http:///x", "file:///etc/passwd"} {
		if tracker.Check(bad) == nil {
			t.Errorf("%q is taken for a tracker", bad)
		}
	}
}

func FuzzParseHTTP(f *testing.F) {
	f.Add([]byte("d8:intervali1800e5:peers6:\x01\x02\x03\x04\x1a\xe1e"))
	f.Add([]byte("d8:intervali90e5:peersld2:ip7:1.2.3.44:porti6881eeee"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := tracker.ParseHTTP(body)
		if err == nil && (len(r.Peers) > len(body) || r.Interval < time.Minute) {
			t.Errorf("%d peers every %v of %d bytes", len(r.Peers), r.Interval, len(body))
		}
	})
}

func FuzzParseUDP(f *testing.F) {
	f.Add([]byte("\x00\x00\x02\x58\x00\x00\x00\x01\x00\x00\x00\x02\x01\x02\x03\x04\x1a\xe1"), false)
	f.Fuzz(func(t *testing.T, b []byte, ipv6 bool) {
		if r, err := tracker.ParseUDP(b, ipv6); err == nil && len(r.Peers) > len(b)/6 {
			t.Errorf("%d peers of %d bytes", len(r.Peers), len(b))
		}
	})
}
