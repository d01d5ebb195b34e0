package swarm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

// gate is the swarm's only door to the network: the one listener and the one
// dialer of the engine, both bound to Config.IP. Nobody banned passes it in
// either direction, no address that policy forbids is ever dialled, whoever
// named it, and what passes keeps to the limits on rates and connections.
//
// The engine's own check is not enough: it keeps a ban of an IPv4 peer as
// ::ffff:a.b.c.d, and looks up a.b.c.d when the peer comes back.
type gate struct {
	ctx      context.Context // ends dials under way
	listener net.Listener
	dialer   net.Dialer
	ip       netip.Addr // zero: all
	fixed    int        // port, of Config; 0: any
	private  bool
	admits   func(ip netip.Addr, incoming bool) bool // who is banned is not
	spend    func(sent, received int) error          // Config.Spend, never nil

	up, down *rate.Limiter // nil: no limit
	receive  int           // bytes the system may take in ahead of us; 0: as it likes
	dials    chan struct{} // one slot for each connection being opened
	maxConns int

	mu       sync.Mutex // guards what follows
	closed   bool
	open     map[*conn]struct{}
	incoming int                // of them
	from     map[netip.Addr]int // incoming ones by site
	met      []met              // may be dialled although they are private, oldest first
}

// errConnections reports that the limit on connections is reached.
var errConnections = errors.New("limit on connections is reached")

func openGate(ctx context.Context, cfg Config, admits func(netip.Addr, bool) bool) (*gate, error) {
	g := &gate{
		ctx: ctx, ip: cfg.IP, fixed: cfg.Port, private: cfg.AllowPrivate, admits: admits, spend: cfg.Spend, open: map[*conn]struct{}{}, from: map[netip.Addr]int{},
		up: limiter(cfg.UploadRate), down: limiter(cfg.DownloadRate),
		dials: make(chan struct{}, cfg.MaxDials), maxConns: cfg.MaxConns,
	}
	if g.spend == nil {
		g.spend = func(int, int) error { return nil }
	}
	if g.down != nil {
		g.receive = receiveBuffer(cfg.DownloadRate)
	}
	g.dialer = net.Dialer{KeepAlive: -1} // the protocol has its own
	host := ""
	if cfg.IP.IsValid() {
		host = cfg.IP.String()
		g.dialer.LocalAddr = &net.TCPAddr{IP: cfg.IP.AsSlice(), Zone: cfg.IP.Zone()}
	}
	address := net.JoinHostPort(host, strconv.Itoa(cfg.Port))
	lc := net.ListenConfig{KeepAlive: -1}
	l, err := lc.Listen(ctx, "tcp", address)
	if isInUse(err) {
		return nil, fmt.Errorf("listen on %s: %w", address, ErrPortInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for peers: %w", err)
	}
	g.listener = l
	return g, nil
}

func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

func (g *gate) port() int { return g.listener.Addr().(*net.TCPAddr).Port }

// Addr, with Accept, makes gate a torrent.Listener.
func (g *gate) Addr() net.Addr { return g.listener.Addr() }

// Accept returns the next connection from a peer that is not banned.
func (g *gate) Accept() (net.Conn, error) {
	for {
		nc, err := g.listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				// Out of file descriptors, mostly. The engine calls again at once.
				g.pause(100 * time.Millisecond)
			}
			return nil, err
		}
		ip := nc.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if !g.admits(ip, true) || g.spend(0, 0) != nil {
			_ = nc.Close()
			continue
		}
		c, err := g.track(nc, true)
		if errors.Is(err, errConnections) {
			continue
		}
		return c, err
	}
}

func (g *gate) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.ctx.Done():
	}
}

// DialerNetwork, with Dial, makes gate a torrent.Dialer.
func (g *gate) DialerNetwork() string { return "tcp" }

// Dial connects to an address that policy allows and that is not banned.
func (g *gate) Dial(ctx context.Context, address string) (net.Conn, error) {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	addr = canonical(addr)
	if !g.allows(addr) {
		return nil, fmt.Errorf("dial %s: address not allowed", addr)
	}
	if !g.admits(addr.Addr(), false) {
		return nil, fmt.Errorf("dial %s: banned", addr)
	}
	if err := g.spend(0, 0); err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	select {
	case g.dials <- struct{}{}:
		defer func() { <-g.dials }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	nc, err := g.dialer.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err
	}
	return g.track(nc, false)
}

// allows reports whether policy permits dialling addr, which is canonical.
func (g *gate) allows(addr netip.AddrPort) bool {
	ip := addr.Addr()
	if addr.Port() == 0 || !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != "" {
		return false
	}
	public := !ip.IsLoopback() && !ip.IsPrivate() && !ip.IsLinkLocalUnicast() && !reserved(ip)
	return public || g.private || g.hasMet(addr)
}

// notPublic are the blocks of RFC 6890 that netip has no word for: this
// network, shared (carrier NAT), protocol assignments, benchmarking, reserved;
// and IPv6 that carries an IPv4 address inside (NAT64, 6to4).
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("2002::/16"),
}

func reserved(ip netip.Addr) bool {
	return slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// canonical gives an IPv4 address its four-byte form.
func canonical(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// track wraps a connection and counts it, or closes it with errConnections. A
// quarter of the connections is kept for those we open ourselves: who calls in
// must not keep us from fetching. Of the others one address, or IPv6 /64, opens
// half at most, so that it cannot keep everybody out: not fewer, because whoever
// fetches many blocks needs a connection for each.
func (g *gate) track(nc net.Conn, incoming bool) (net.Conn, error) {
	if tcp, ok := nc.(*net.TCPConn); ok && g.receive > 0 {
		_ = tcp.SetReadBuffer(g.receive) // refused, the limit holds on average only
	}
	c := &conn{Conn: nc, gate: g, incoming: incoming}
	if addr, err := netip.ParseAddrPort(nc.RemoteAddr().String()); err == nil {
		c.remote = canonical(addr).Addr()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, errors.Join(net.ErrClosed, nc.Close())
	}
	callers := g.maxConns - g.maxConns/4
	tooMany := incoming && (g.incoming >= callers || g.from[site(c.remote)] >= (callers+1)/2)
	if tooMany || len(g.open) >= g.maxConns {
		return nil, errors.Join(errConnections, nc.Close())
	}
	c.ctx, c.cancel = context.WithCancel(g.ctx)
	g.open[c] = struct{}{}
	if incoming {
		g.incoming++
		g.from[site(c.remote)]++
	}
	return c, nil
}

func (g *gate) forget(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.open[c]; !ok {
		return
	}
	delete(g.open, c)
	if c.incoming {
		g.incoming--
		if g.from[site(c.remote)]--; g.from[site(c.remote)] <= 0 {
			delete(g.from, site(c.remote))
		}
	}
}

// close stops listening and cuts every connection, also those the engine is
// still shaking hands on and would wait for.
func (g *gate) close() error {
	err := g.listener.Close()
	g.mu.Lock()
	g.closed = true
	open := g.open
	g.open = map[*conn]struct{}{}
	g.mu.Unlock()
	for c := range open {
		c.cancel()
		_ = c.Conn.Close()
	}
	return err
}

// connected returns the connections that are open.
func (g *gate) connected() []*conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Keys(g.open))
}

// connections is how many are open.
func (g *gate) connections() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.open)
}
