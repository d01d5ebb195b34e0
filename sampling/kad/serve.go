package kad

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"golang.org/x/time/rate"

	"granary/erasure"
	"granary/sampling/kad/internal/wire"
)

// The protocols of this package; nothing writes to these. A bundle has 300 KiB
// at most, and for most blocks 20 KiB.
var (
	helloService  = Service{"/granary/hello/1.0.0", wire.MaxRequest, wire.MaxHelloReply, 1}
	bundleService = Service{"/granary/block/1.0.0", wire.MaxRequest, wire.MaxBundleReply, 8}
	rowService    = Service{"/granary/row/1.0.0", wire.MaxRequest, wire.MaxRowReply, 1}
)

const (
	// Requests are paid for in tokens, about one per 16 KiB sent, from a bucket
	// per IP address: 512 at once (8 MiB), then 64 a second (1 MiB/s), which a
	// home uplink stands and no honest sampler needs.
	tokensBurst     = 512
	tokensPerSecond = 64

	tokenBytes = 16 << 10

	// lineShare is how many addresses it takes to use up a limited line.
	lineShare = 4

	// lineBurst is for how long a limited line saves up what nobody asks for, in
	// seconds, and leastBurst how many tokens it may always save: two bundles.
	lineBurst  = 5
	leastBurst = 16

	maxServing = 32   // requests answered at once
	maxBuckets = 4096 // IP addresses remembered
)

// serveProtocols answers requests from now on.
func (h *Host) serveProtocols() {
	handle(h, helloService, h.answerHello, wire.HelloReply{Status: wire.Busy, Chain: h.cfg.Chain})
	handle(h, bundleService, h.answerBundle, wire.BundleReply{Status: wire.Busy})
	handle(h, rowService, h.answerRow, wire.RowReply{Status: wire.Busy})
}

// handle serves one protocol of messages.
func handle[Q, R wire.Message](h *Host, s Service, answer func(Q) R, busy R) {
	h.serve(s, wire.Encode(busy), func(_ context.Context, _ peer.ID, body []byte) ([]byte, error) {
		request, err := wire.Decode[Q](body)
		if err != nil {
			return nil, err
		}
		return wire.Encode(answer(request)), nil
	})
}

func (h *Host) answerHello(q wire.HelloRequest) wire.HelloReply {
	reply := wire.HelloReply{Chain: h.cfg.Chain}
	if q.Chain != h.cfg.Chain {
		reply.Status = wire.OtherChain
		return reply
	}
	reply.Torrent = uint16(h.cfg.TorrentPort)
	reply.Custodian = h.cfg.Custodian && !h.hidden.Load()
	if len(q.ID) == 0 {
		return reply
	}
	id := erasure.ID(q.ID)
	b, err := h.src.Bundle(id)
	reply.Known = err == nil && b.Proof != nil
	reply.Held = h.src.Held(id).Bytes()
	return reply
}

func (h *Host) answerBundle(q wire.BundleRequest) wire.BundleReply {
	b, err := h.src.Bundle(q.ID)
	if err != nil {
		return wire.BundleReply{Status: h.failed(err)}
	}
	if b.Proof == nil {
		return wire.BundleReply{Status: wire.Pending}
	}
	return wire.BundleReply{Info: b.Info.Encode(), Proof: b.Proof, Layers: b.Layers.Encode()}
}

func (h *Host) answerRow(q wire.RowRequest) wire.RowReply {
	h.log.Debug("row asked for", "block", q.ID.Short(), "row", q.Row)
	row, path, err := h.src.Row(q.ID, int(q.Row))
	if err != nil {
		return wire.RowReply{Status: h.failed(err)}
	}
	reply := wire.RowReply{Row: row}
	for _, root := range path {
		reply.Path = append(reply.Path, root[:]...)
	}
	return reply
}

// failed says an error of the Source to a peer. Any but the expected ones is
// our trouble: the peer should ask another, or later.
func (h *Host) failed(err error) wire.Status {
	switch {
	case errors.Is(err, ErrNotHeld):
		return wire.NotHeld
	case errors.Is(err, ErrPending):
		return wire.Pending
	}
	h.log.Warn("request not served", "err", err)
	return wire.Busy
}

// remoteIP is the IP address of the other end, the zero Addr if it has none.
func remoteIP(c network.Conn) netip.Addr { return ipOf(c.RemoteMultiaddr()) }

func ipOf(a ma.Multiaddr) netip.Addr {
	ip, err := manet.ToIP(a)
	if err != nil {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}

// admission decides which requests are served: so many at once, all together
// within the line's share for them, and each IP address within its bucket. IPv6
// addresses count by /56, which is what one customer is given.
type admission struct {
	slots chan struct{}
	line  *rate.Limiter // nil: no limit
	each  rate.Limit    // tokens per second of one address

	mu      sync.Mutex // guards buckets
	buckets map[netip.Prefix]*rate.Limiter
}

// newAdmission returns one for a line that has so many bytes per second for
// replies; 0: no limit.
func newAdmission(bytesPerSecond int64) *admission {
	a := &admission{
		slots:   make(chan struct{}, maxServing),
		each:    tokensPerSecond,
		buckets: make(map[netip.Prefix]*rate.Limiter),
	}
	if bytesPerSecond > 0 {
		tokens := rate.Limit(float64(bytesPerSecond) / tokenBytes)
		a.line = rate.NewLimiter(tokens, min(max(leastBurst, int(lineBurst*tokens)), tokensBurst))
		a.each = min(a.each, tokens/lineShare)
	}
	return a
}

// enter admits one request, to be ended by calling done, or refuses it.
func (a *admission) enter(ip netip.Addr, tokens int) (done func(), ok bool) {
	if !a.bucket(ip).AllowN(time.Now(), tokens) || a.line != nil && !a.line.AllowN(time.Now(), tokens) {
		return nil, false
	}
	select {
	case a.slots <- struct{}{}:
		return func() { <-a.slots }, true
	default:
		return nil, false
	}
}

func (a *admission) bucket(ip netip.Addr) *rate.Limiter {
	bits := 32
	if ip.Is6() {
		bits = 56
	}
	prefix, _ := ip.Prefix(bits) // without an address, all share the zero prefix
	a.mu.Lock()
	defer a.mu.Unlock()
	if b := a.buckets[prefix]; b != nil {
		return b
	}
	if len(a.buckets) >= maxBuckets {
		a.drop()
	}
	b := rate.NewLimiter(a.each, tokensBurst)
	a.buckets[prefix] = b
	return b
}

// drop forgets the buckets that are full again, which are as good as new, and
// all of them if that does not help: then so many addresses ask at once that
// only the slots protect us.
func (a *admission) drop() {
	for prefix, b := range a.buckets {
		if b.Tokens() >= tokensBurst {
			delete(a.buckets, prefix)
		}
	}
	if len(a.buckets) >= maxBuckets {
		clear(a.buckets)
	}
}
