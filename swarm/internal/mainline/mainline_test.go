package mainline_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/anacrolix/torrent/bencode"
	"go.uber.org/goleak"

	"granary/swarm/internal/mainline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// network is a DHT in which every node answers by BEP 5 as one would that
// knows all others.
type network struct {
	nodes []*dhtNode

	mu        sync.Mutex
	announced []string // guarded by mu: who told whom of what
	queries   int      // guarded by mu
}

type dhtNode struct {
	net   *network
	id    mainline.ID
	pc    net.PacketConn
	peers string // guarded by net.mu: bencoded list, given for every torrent
}

func (n *dhtNode) addr() netip.AddrPort { return n.pc.LocalAddr().(*net.UDPAddr).AddrPort() }

func newNetwork(t *testing.T, size int) *network {
	nw := &network{}
	for range size {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		n := &dhtNode{net: nw, pc: pc}
		_, _ = rand.Read(n.id[:])
		nw.nodes = append(nw.nodes, n)
	}
	var serving sync.WaitGroup
	for _, n := range nw.nodes {
		serving.Go(n.serve)
	}
	t.Cleanup(func() {
		for _, n := range nw.nodes {
			_ = n.pc.Close()
		}
		serving.Wait()
	})
	return nw
}

// closest returns the nodes closest to target.
func (nw *network) closest(target mainline.ID, n int) []*dhtNode {
	list := slices.Clone(nw.nodes)
	slices.SortFunc(list, func(a, b *dhtNode) int {
		for i := range target {
			if d := int(a.id[i]^target[i]) - int(b.id[i]^target[i]); d != 0 {
				return d
			}
		}
		return 0
	})
	return list[:min(n, len(list))]
}

func (n *dhtNode) serve() {
	buf := make([]byte, 2048)
	for {
		size, from, err := n.pc.ReadFrom(buf)
		if err != nil {
			return
		}
		var q struct {
			T  string `bencode:"t"`
			Q  string `bencode:"q"`
			Y  string `bencode:"y"`
			RO int    `bencode:"ro"`
			A  struct {
				ID       string `bencode:"id"`
				InfoHash string `bencode:"info_hash"`
				Port     int    `bencode:"port"`
				Token    string `bencode:"token"`
				Implied  int    `bencode:"implied_port"`
			} `bencode:"a"`
		}
		if err := bencode.Unmarshal(buf[:size], &q); err != nil || q.RO != 1 || q.Y != "q" {
			panic(fmt.Sprintf("%v: %q", err, buf[:size]))
		}
		answer := "d1:rd2:id20:" + string(n.id[:])
		switch q.Q {
		case "get_peers":
			near := ""
			for _, c := range n.net.closest(mainline.ID([]byte(q.A.InfoHash)), 8) {
				ip, port := c.addr().Addr().As4(), c.addr().Port()
				near += string(c.id[:]) + string(ip[:]) + string([]byte{byte(port >> 8), byte(port)})
			}
			answer += fmt.Sprintf("5:nodes%d:%s5:token4:tok!", len(near), near)
			n.net.mu.Lock()
			if n.peers != "" {
				answer += "6:values" + n.peers
			}
			n.net.mu.Unlock()
		case "announce_peer":
			n.net.mu.Lock()
			n.net.announced = append(n.net.announced, fmt.Sprintf("%x %x %d %s %d", n.id, q.A.InfoHash, q.A.Port, q.A.Token, q.A.Implied))
			n.net.mu.Unlock()
		}
		n.net.mu.Lock()
		n.net.queries++
		n.net.mu.Unlock()
		answer += fmt.Sprintf("e1:t%d:%s1:y1:re", len(q.T), q.T)
		for _, p := range []string{"x", "d1:t2:zz1:y1:re", answer} { // what is no answer is passed over
			if _, err := n.pc.WriteTo([]byte(p), from); err != nil {
				return
			}
		}
	}
}

func open(t *testing.T, begin ...string) *mainline.Node {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := mainline.Open(mainline.Config{Conn: pc, Begin: begin})
	t.Cleanup(func() { _ = n.Close() })
	return n
}

func TestFindAnnouncesToTheClosestAndFindsPeers(t *testing.T) {
	nw := newNetwork(t, 40)
	var torrent mainline.ID
	_, _ = rand.Read(torrent[:])
	near := nw.closest(torrent, 8)
	nw.mu.Lock()
	near[3].peers = "l6:\x01\x02\x03\x04\x1a\xe16:\x01\x02\x03\x04\x00\x005:shorte"
	nw.mu.Unlock()
	n := open(t, nw.nodes[0].addr().String())
	for round := range 2 {
		var found []netip.AddrPort
		if err := n.Find(t.Context(), torrent, 4748, func(a []netip.AddrPort) { found = append(found, a...) }); err != nil {
			t.Fatal(err)
		}
		if want := netip.MustParseAddrPort("1.2.3.4:6881"); !slices.Equal(found, []netip.AddrPort{want}) {
			t.Errorf("round %d: found %v, want %v", round, found, want)
		}
	}
	nw.mu.Lock()
	defer nw.mu.Unlock()
	if nw.queries > 2*(8+9) {
		t.Errorf("%d queries, want one to the first node, and to the 8 closest two, in each round", nw.queries)
	}
	for _, c := range near {
		line := fmt.Sprintf("%x %x 4748 tok! 0", c.id, torrent[:])
		if !slices.Contains(nw.announced, line) {
			t.Errorf("not announced: %s", line)
		}
	}
	if len(nw.announced) != 16 {
		t.Errorf("%d announcements, want 8 in each round", len(nw.announced))
	}
}

func TestWithoutAPortNothingIsAnnounced(t *testing.T) {
	nw := newNetwork(t, 3)
	n := open(t, nw.nodes[0].addr().String())
	if err := n.Find(t.Context(), mainline.ID{1}, 0, nil); err != nil {
		t.Fatal(err)
	}
	nw.mu.Lock()
	defer nw.mu.Unlock()
	if len(nw.announced) != 0 {
		t.Errorf("announced: %v", nw.announced)
	}
}

func TestNodesThatMayNotBeAskedAreNot(t *testing.T) {
	nw := newNetwork(t, 5)
	first := nw.nodes[0].addr()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := mainline.Open(mainline.Config{Conn: pc, Begin: []string{first.String()}, Allow: func(netip.AddrPort) bool { return false }})
	defer n.Close()
	if err := n.Find(t.Context(), mainline.ID{1}, 0, nil); err != nil {
		t.Fatal(err)
	}
	nw.mu.Lock()
	defer nw.mu.Unlock()
	if nw.queries != 1 {
		t.Errorf("%d queries, want one, to the node that the user named", nw.queries)
	}
}

func TestFindWithoutNodes(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := open(t, silent.LocalAddr().String()).Find(t.Context(), mainline.ID{1}, 1, nil); !errors.Is(err, mainline.ErrNoNodes) {
		t.Errorf("got %v, want ErrNoNodes", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := open(t, silent.LocalAddr().String()).Find(ctx, mainline.ID{1}, 1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// Each query is answered with three packets, of which one is an answer: the others,
// which anybody could have sent, must not count for limits.
func TestOnlyAnswersCount(t *testing.T) {
	nw := newNetwork(t, 3)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var answers, bytes atomic.Int64
	n := mainline.Open(mainline.Config{Conn: pc, Begin: []string{nw.nodes[0].addr().String()}, Answered: func(size int) {
		answers.Add(1)
		bytes.Add(int64(size))
	}})
	defer n.Close()
	if err := n.Find(t.Context(), mainline.ID{1}, 0, nil); err != nil {
		t.Fatal(err)
	}
	nw.mu.Lock()
	defer nw.mu.Unlock()
	if answers.Load() != int64(nw.queries) || bytes.Load() < 50*answers.Load() {
		t.Errorf("%d answers of %d bytes counted, %d queries", answers.Load(), bytes.Load(), nw.queries)
	}
}
