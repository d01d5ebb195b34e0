package swarm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"

	g "github.com/anacrolix/generics"
	trackers "github.com/anacrolix/torrent/tracker/server"
	"github.com/anacrolix/torrent/tracker/udp"
	udptracker "github.com/anacrolix/torrent/tracker/udp/server"

	"granary/erasure"
	"granary/swarm"
)

// registry is what a tracker remembers: who announced what.
type registry struct {
	mu    sync.Mutex
	peers map[[20]byte]map[netip.AddrPort]udp.AnnounceRequest
}

func (r *registry) TrackAnnounce(_ context.Context, req udp.AnnounceRequest, addr netip.AddrPort) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.peers[req.InfoHash] == nil {
		r.peers[req.InfoHash] = map[netip.AddrPort]udp.AnnounceRequest{}
	}
	r.peers[req.InfoHash][addr] = req
	return nil
}

func (r *registry) Scrape(context.Context, []trackers.InfoHash) ([]udp.ScrapeInfohashResult, error) {
	return nil, errors.ErrUnsupported
}

func (r *registry) GetPeers(_ context.Context, hash trackers.InfoHash, _ trackers.GetPeersOpts, _ netip.AddrPort) trackers.ServerAnnounceResult {
	r.mu.Lock()
	defer r.mu.Unlock()
	res := trackers.ServerAnnounceResult{Interval: g.Some[int32](1800)}
	for addr := range r.peers[hash] {
		res.Peers = append(res.Peers, trackers.PeerInfo{AnnounceAddr: addr})
	}
	return res
}

func (r *registry) has(id erasure.ID, addr netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.peers[[20]byte(id[:20])][addr]
	return ok
}

// Add and Check make a registry an udptracker.ConnectionTracker.
func (r *registry) Add(context.Context, string, udp.ConnectionId) error { return nil }

func (r *registry) Check(context.Context, string, udp.ConnectionId) (bool, error) { return true, nil }

// ServeHTTP answers by BEP 3 and 23. The engine's own HTTP tracker gives an empty
// failure reason, which libtorrent takes for a failure.
func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	from, err := netip.ParseAddrPort(req.RemoteAddr)
	port, perr := strconv.ParseUint(q.Get("port"), 10, 16)
	if err != nil || perr != nil || len(q.Get("info_hash")) != 20 || len(q.Get("peer_id")) != 20 {
		http.Error(w, "not by BEP 3", http.StatusBadRequest)
		return
	}
	hash := [20]byte([]byte(q.Get("info_hash")))
	_ = r.TrackAnnounce(req.Context(), udp.AnnounceRequest{InfoHash: hash}, netip.AddrPortFrom(from.Addr(), uint16(port)))
	var peers []byte
	for _, p := range r.GetPeers(req.Context(), hash, trackers.GetPeersOpts{}, from).Peers {
		peers = append(append(peers, p.Addr().AsSlice()...), byte(p.Port()>>8), byte(p.Port()))
	}
	fmt.Fprintf(w, "d8:intervali1800e5:peers%d:%se", len(peers), peers)
}

// openTracker starts a tracker and returns its announce URL.
func openTracker(t *testing.T, scheme string) (*registry, string) {
	t.Helper()
	r := &registry{peers: map[[20]byte]map[netip.AddrPort]udp.AnnounceRequest{}}
	announce := &trackers.AnnounceHandler{AnnounceTracker: r}
	if scheme == "http" {
		s := httptest.NewServer(r)
		t.Cleanup(s.Close)
		return r, s.URL + "/announce"
	}
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &udptracker.Server{ConnTracker: r, Announce: announce, SendResponse: func(_ context.Context, b []byte, to net.Addr) (int, error) {
		return pc.WriteTo(b, to)
	}}
	var serving sync.WaitGroup
	serving.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if err := s.HandleRequest(context.Background(), udp.AddrFamilyIpv4, from, bytes.Clone(buf[:n])); err != nil {
				t.Errorf("UDP tracker: %v", err)
			}
		}
	})
	t.Cleanup(func() {
		_ = pc.Close()
		serving.Wait()
	})
	return r, "udp://" + pc.LocalAddr().String() + "/announce"
}

func using(s swarm.Sources) func(*swarm.Config) {
	return func(c *swarm.Config) { c.Sources = s }
}

// checkFetch fetches p with nothing but what its sources find.
func checkFetch(t *testing.T, s *swarm.Swarm, p published) {
	t.Helper()
	b := newBlock(t, p.bundle)
	if err := add(t, s, b).FetchAny(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.recovered(t), p.content) {
		t.Error("content differs")
	}
}

func TestPeersFromTrackers(t *testing.T) {
	for _, scheme := range []string{"http", "udp"} {
		t.Run(scheme, func(t *testing.T) {
			r, url := openTracker(t, scheme)
			src := using(swarm.Sources{Trackers: []string{url}})
			p := random(t, 20)
			seeder := open(t, src)
			seeder.Offer(p.id(), whole(t, p))
			waitFor(t, "the announcement", func() bool { return r.has(p.id(), seeder.Addr()) })
			checkFetch(t, open(t, src), p)
		})
	}
}

func TestWhatIsNotServedIsNotAnnounced(t *testing.T) {
	r, url := openTracker(t, "http")
	src := using(swarm.Sources{Trackers: []string{url}})
	p, other := random(t, 20), random(t, 3)
	silent, honest := open(t, src), open(t)
	add(t, honest, whole(t, p))
	empty := random(t, 4)
	serving := open(t, src)
	serving.Offer(empty.id(), newBlock(t, empty.bundle))
	held := random(t, 6)
	serving.Offer(held.id(), whole(t, held))
	silent.Serve(false)
	silent.Offer(other.id(), whole(t, other))
	add(t, silent, whole(t, other))
	b := newBlock(t, p.bundle)
	torrent := add(t, silent, b)
	torrent.AddPeers(honest.Addr())
	if err := torrent.FetchAny(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	// An exception is announced, offered or not.
	excepted := random(t, 7)
	silent.Offer(excepted.id(), whole(t, excepted))
	defer add(t, silent, whole(t, excepted)).ServeAnyway()()
	waitFor(t, "the announcement of an exception", func() bool { return r.has(excepted.id(), silent.Addr()) })
	waitFor(t, "the announcement of what is held", func() bool { return r.has(held.id(), serving.Addr()) })
	if r.has(other.id(), silent.Addr()) {
		t.Error("a block that is not served was announced")
	}
	if r.has(empty.id(), serving.Addr()) {
		t.Error("a block of which nothing is held was announced")
	}
}

func TestNobodyIsAskedUnlessNamed(t *testing.T) {
	redirected := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer redirected.Close()
	var asked sync.Once
	done := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, redirected.URL, http.StatusFound)
		asked.Do(func() { close(done) })
	}))
	defer s.Close()
	leecher := open(t, using(swarm.Sources{Trackers: []string{s.URL + "/announce"}}))
	fetching(t, add(t, leecher, newBlock(t, random(t, 5).bundle)))
	<-done
	err := leecher.Find(testContext(t), random(t, 5).id(), func([]netip.AddrPort) { t.Error("addresses found") })
	if err == nil || !strings.Contains(err.Error(), "redirected") {
		t.Errorf("got %v, want that it was redirected", err)
	}
}

func TestSourcesAreChecked(t *testing.T) {
	for _, src := range []swarm.Sources{
		{Trackers: []string{"ftp://a/"}},
		{Mainline: []string{"router.example"}},
		{Mainline: []string{"router.example:0"}},
	} {
		if _, err := swarm.Open(swarm.Config{Sources: src}); !errors.Is(err, swarm.ErrSource) {
			t.Errorf("%+v: got %v, want ErrSource", src, err)
		}
	}
}

func TestPeersOnOurOwnNetwork(t *testing.T) {
	group := localGroup(t)
	src := func(c *swarm.Config) {
		c.Sources.Local = true
		swarm.LocalGroup(c, group)
	}
	p := random(t, 20)
	seeder, err := swarm.Open(localConfig(src))
	if err != nil {
		t.Skipf("this machine does not let us: %v", err)
	}
	defer seeder.Close()
	add(t, seeder, whole(t, p))
	leecher, err := swarm.Open(localConfig(src))
	if err != nil {
		t.Fatal(err)
	}
	defer leecher.Close()
	checkFetch(t, leecher, p)
}

// localConfig is that of a swarm that dials nobody private but whom it hears.
func localConfig(opt func(*swarm.Config)) swarm.Config {
	c := swarm.Config{IP: newIP()}
	opt(&c)
	return c
}

// localGroup is a multicast group of this test alone: its port is free now.
func localGroup(t *testing.T) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	return netip.AddrPortFrom(netip.MustParseAddr("239.192.152.144"), pc.LocalAddr().(*net.UDPAddr).AddrPort().Port())
}
