package kad_test

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/marcopolo/simnet"
	ma "github.com/multiformats/go-multiaddr"

	"granary/erasure"
	"granary/sampling"
	"granary/sampling/kad"
)

// The links of a home, and how far its packets travel one way.
const (
	simDown = 100_000_000 // bits per second
	simUp   = 20_000_000
	simNear = 8 * time.Millisecond
	simFar  = 100 * time.Millisecond

	simRetry = time.Second // between the rounds of a test, as in a devnet: waiting proves nothing
)

// world is a network in virtual time: hosts as they are, on links that are
// simulated. It lives in one synctest bubble.
type world struct {
	t       testing.TB
	net     *simnet.Simnet
	custody int
	seed    uint64
	hosts   []*simHost
	blocks  []*block   // what custodians hold their share of
	mu      sync.Mutex // for what faults share
}

// simHost is one host of a world, with what a test can make it do.
type simHost struct {
	*kad.Host
	world *world
	at    netip.Addr
	dead  atomic.Bool // drops every packet, silently
	in    atomic.Int64
	out   atomic.Int64
	rows  atomic.Int64 // requests for rows that it answered
	// serve answers requests for rows in the place of honest; nil: honest does.
	serve func(id erasure.ID, row int) ([]byte, []erasure.Root, error)
	lie   bool // describes blocks wrongly
	// hostile hosts are nobody's first contact: who knows only them is lost.
	hostile bool
}

// newWorld makes n custodians that hold their share of the blocks. Their tables
// and records are those of a network that has run for long.
func newWorld(t testing.TB, n, custody int, seed uint64, blocks ...*block) *world {
	t.Helper()
	w := &world{t: t, custody: custody, seed: seed, blocks: blocks}
	w.net = &simnet.Simnet{LatencyFunc: w.latency}
	w.net.Start()
	for i := range n {
		w.hosts = append(w.hosts, w.open(i, true, nil))
	}
	w.converge()
	return w
}

// converge gives everybody the routing table and the provider records of a
// network that has run for long.
func (w *world) converge() {
	var infos []peer.AddrInfo
	custodians := make([][]peer.AddrInfo, sampling.Groups)
	for _, h := range w.hosts {
		infos = append(infos, h.Info())
		for g := range sampling.Custody(chain, []byte(h.ID()), w.custody).All() {
			custodians[g] = append(custodians[g], h.Info())
		}
	}
	records := make(map[peer.ID]map[int][]peer.AddrInfo)
	for g, providers := range custodians {
		for _, keeper := range kad.Closest(chain, g, 20, infos) {
			if records[keeper.ID] == nil {
				records[keeper.ID] = make(map[int][]peer.AddrInfo)
			}
			records[keeper.ID][g] = providers
		}
	}
	for i, h := range w.hosts {
		random := rand.New(rand.NewPCG(w.seed, uint64(i)))
		random.Shuffle(len(infos), func(i, j int) { infos[i], infos[j] = infos[j], infos[i] })
		h.Converge(infos, records[h.ID()])
	}
}

// shuffle numbers the hosts anew, so that a fault hits others with every seed.
func (w *world) shuffle() {
	random := rand.New(rand.NewPCG(w.seed, 99))
	random.Shuffle(len(w.hosts), func(i, j int) { w.hosts[i], w.hosts[j] = w.hosts[j], w.hosts[i] })
}

// latency of a packet follows from its two ends.
func (w *world) latency(p *simnet.Packet) time.Duration {
	a, b := p.From.(*net.UDPAddr).AddrPort().Addr(), p.To.(*net.UDPAddr).AddrPort().Addr()
	if b.Less(a) {
		a, b = b, a
	}
	x, y := a.As16(), b.As16()
	random := rand.New(rand.NewPCG(uint64(x[12])<<8|uint64(x[13]), uint64(y[12])<<8|uint64(y[13])))
	return simNear + time.Duration(random.Int64N(int64(simFar-simNear)))
}

// simIP gives every host a public address in a /16 of its own.
func simIP(i int) netip.Addr { return netip.AddrFrom4([4]byte{byte(20 + i%70), byte(i / 70), 1, 1}) }

// stranger is a host that is only said to be there.
func (w *world) stranger(i int) peer.AddrInfo {
	w.t.Helper()
	public, err := crypto.UnmarshalEd25519PublicKey(key(10_000 + i).Public().(ed25519.PublicKey))
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := peer.IDFromPublicKey(public)
	if err != nil {
		w.t.Fatal(err)
	}
	addr := fmt.Sprintf("/ip4/%s/udp/4747/quic-v1", simIP(1000+i))
	return peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{ma.StringCast(addr)}}
}

// open adds a host. A client knows nobody but the peers that it joins by.
func (w *world) open(i int, custodian bool, bootstrap []*simHost) *simHost {
	w.t.Helper()
	h := &simHost{world: w, at: simIP(i)}
	cfg := kad.Config{
		Chain: chain, Key: key(i), IP: h.at, Port: 4747, CustodyCount: w.custody,
		Custodian: custodian, Hidden: true, Client: !custodian, Devnet: true, ServeRate: simUp / 8 * 3 / 10, Packets: h.packets,
	}
	for _, b := range bootstrap {
		cfg.Bootstrap = append(cfg.Bootstrap, b.Addrs()...)
	}
	host, err := kad.Open(context.Background(), cfg, h)
	if err != nil {
		w.t.Fatal(err)
	}
	h.Host = host
	return h
}

// close ends every host, and the network.
func (w *world) close() {
	var wg sync.WaitGroup
	for _, h := range w.hosts {
		wg.Go(func() { _ = h.Close() })
	}
	wg.Wait()
	w.net.Close()
}

func (h *simHost) packets(at *net.UDPAddr) (net.PacketConn, error) {
	link := simnet.NodeBiDiLinkSettings{
		Downlink: simnet.LinkSettings{BitsPerSecond: simDown}, Uplink: simnet.LinkSettings{BitsPerSecond: simUp},
	}
	return &simConn{SimConn: h.world.net.NewEndpoint(at, link), host: h}, nil
}

// simConn counts bytes, and loses all of them once its host is dead.
type simConn struct {
	*simnet.SimConn
	host *simHost
}

func (c *simConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.SimConn.ReadFrom(p)
		if err != nil || !c.host.dead.Load() {
			c.host.in.Add(int64(n))
			return n, from, err
		}
	}
}

func (c *simConn) WriteTo(p []byte, to net.Addr) (int, error) {
	if c.host.dead.Load() {
		return len(p), nil
	}
	c.host.out.Add(int64(len(p)))
	return c.SimConn.WriteTo(p, to)
}

// find returns the block with this ID.
func (w *world) find(id erasure.ID) *block {
	i := slices.IndexFunc(w.blocks, func(b *block) bool { return b.bundle.Info.ID() == id })
	if i < 0 {
		return nil
	}
	return w.blocks[i]
}

// Bundle implements kad.Source.
func (h *simHost) Bundle(id erasure.ID) (erasure.Bundle, error) {
	b := h.world.find(id)
	if b == nil {
		return erasure.Bundle{}, kad.ErrNotHeld
	}
	bundle := b.bundle
	if h.lie {
		bundle.Proof = slices.Clone(bundle.Proof)
		bundle.Proof[7] ^= 1
	}
	return bundle, nil
}

// Held implements kad.Source: its share.
func (h *simHost) Held(id erasure.ID) erasure.PieceSet {
	b := h.world.find(id)
	if b == nil || h.Host == nil {
		return erasure.PieceSet{}
	}
	return sampling.Owed(id, b.bundle.Info.Geometry(), h.Groups())
}

// Row implements kad.Source.
func (h *simHost) Row(id erasure.ID, row int) ([]byte, []erasure.Root, error) {
	h.rows.Add(1)
	if h.serve != nil {
		return h.serve(id, row)
	}
	return h.honest(id, row)
}

// honest serves what the host owes.
func (h *simHost) honest(id erasure.ID, row int) ([]byte, []erasure.Root, error) {
	b := h.world.find(id)
	if b == nil || row >= len(b.rows) || !h.Held(id).Has(b.bundle.Info.Geometry().PieceOf(row)) {
		return nil, nil, kad.ErrNotHeld
	}
	return b.row(row)
}

// row returns a row and its path.
func (b *block) row(row int) ([]byte, []erasure.Root, error) {
	g := b.bundle.Info.Geometry()
	first, count := g.PieceSpan(g.PieceOf(row))
	piece := make([]byte, 0, count*erasure.RowSize)
	for _, r := range b.rows[first : first+count] {
		piece = append(piece, r...)
	}
	path, err := erasure.RowPath(g, b.bundle.Layers, row, piece)
	return b.rows[row], path, err
}

// client is a light client of a world.
type client struct{ *simHost }

// join opens a client that knows three hosts.
func (w *world) join(i int) client {
	w.t.Helper()
	random := rand.New(rand.NewPCG(w.seed, uint64(1000+i)))
	var boot []*simHost
	for _, j := range random.Perm(len(w.hosts)) {
		if h := w.hosts[j]; !h.dead.Load() && !h.hostile && len(boot) < 3 {
			boot = append(boot, h)
		}
	}
	return client{w.open(len(w.hosts)+i, false, boot)}
}

// judge tests a block, with another as control.
func (c client) judge(b, control *block) outcome {
	in, out := c.in.Load(), c.out.Load()
	f := c.NewFinder(context.Background(), nil)
	defer f.Close()
	s := sampling.New(f, f, sampling.Config{Origin: f.Origin, RetryRound: simRetry})
	v, err := s.Judge(context.Background(), sampling.Target{Bundle: b.bundle, Fresh: true},
		func(context.Context) *erasure.Bundle { return &control.bundle })
	if err != nil {
		c.world.t.Error(err)
	}
	return outcome{v, c.in.Load() - in, c.out.Load() - out}
}

// outcome is one test, with the bytes that went over the client's line.
type outcome struct {
	sampling.Verdict
	in, out int64
}

// figures say what many tests came to.
func figures(all []outcome) string {
	states := map[sampling.State]int{}
	slices.SortFunc(all, func(a, b outcome) int { return cmp.Compare(a.Took, b.Took) })
	var in, out, rows int64
	for _, o := range all {
		states[o.State]++
		in, out, rows = in+o.in, out+o.out, rows+o.Bytes
	}
	n := int64(len(all))
	return fmt.Sprintf("%d tests: %d available, %d unavailable, %d inconclusive; p50 %v, p99 %v; %d KiB in, %d KiB out, rows and paths %d KiB",
		n, states[sampling.Available], states[sampling.Unavailable], states[sampling.Inconclusive],
		all[len(all)/2].Took.Round(time.Millisecond), all[len(all)*99/100].Took.Round(time.Millisecond), in/n>>10, out/n>>10, rows/n>>10)
}
