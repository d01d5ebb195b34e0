package kad

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/autorelay"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

// dialTimeout bounds one dial. Dead peers in routing tables are what makes
// lookups slow: at 1.5 s instead of libp2p's 15 s, with half of 200 nodes dead,
// a cold round of samples took 5.9 s instead of 11.7 s.
const dialTimeout = 1500 * time.Millisecond

// ErrPortInUse reports that another process listens on the port, on TCP or UDP.
var ErrPortInUse = errors.New("port in use")

// listen returns a libp2p host on QUIC and TCP at cfg.IP and one port.
func listen(cfg Config, relays autorelay.PeerSource) (host.Host, error) {
	key, err := crypto.UnmarshalEd25519PrivateKey(cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	if cfg.Packets != nil {
		return newHost(cfg, key, cfg.Port, relays)
	}
	// A free port is found by binding it twice and letting go, so somebody else
	// can take it before libp2p does: then another one is tried.
	for attempt := 0; ; attempt++ {
		port, err := freePort(cfg.IP, cfg.Port)
		if err != nil {
			return nil, err
		}
		h, err := newHost(cfg, key, port, relays)
		if errors.Is(err, ErrPortInUse) && cfg.Port == 0 && attempt < 5 {
			continue
		}
		return h, err
	}
}

// freePort returns port, or any for 0, once both transports could bind it.
func freePort(ip netip.Addr, port int) (int, error) {
	var err error
	for range 20 { // a port free on TCP is rarely taken on UDP
		var t *net.TCPListener
		t, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port))))
		if err == nil {
			bound := t.Addr().(*net.TCPAddr).Port
			var u *net.UDPConn
			u, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(bound))))
			_ = t.Close()
			if err == nil {
				return bound, u.Close()
			}
		}
		if port != 0 {
			break
		}
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return 0, fmt.Errorf("%w: %d: %w", ErrPortInUse, port, err)
	}
	return 0, fmt.Errorf("listen: %w", err)
}

func newHost(cfg Config, key crypto.PrivKey, port int, relays autorelay.PeerSource) (host.Host, error) {
	limits, err := resourceManager()
	if err != nil {
		return nil, err
	}
	from := sockets{cfg.IP, cfg.Packets}
	opts := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.UserAgent("granary"),
		libp2p.ListenAddrs(listenAddrs(cfg, port)...),
		libp2p.Transport(libp2pquic.NewTransport),
		libp2p.QUICReuse(from.quic),
		libp2p.WithDialTimeout(dialTimeout),
		libp2p.ResourceManager(limits),
		libp2p.DisableMetrics(),
	}
	if cfg.Packets == nil {
		opts = append(opts, libp2p.Transport(tcp.NewTCPTransport,
			// Without reuseport a second process cannot share our port unnoticed.
			tcp.DisableReuseport(),
			tcp.WithConnectionTimeout(dialTimeout),
			tcp.WithDialerForAddr(from.tcpDialer),
		))
	}
	if cfg.Devnet || cfg.Packets != nil {
		// Nobody beyond this machine is to be learned of, and peers see each
		// other at addresses that are exactly those listened on.
		opts = append(opts, libp2p.DisableIdentifyAddressDiscovery(), libp2p.DisableRelay())
	} else {
		opts = append(opts,
			libp2p.NonPublicAddrPublishing(false),
			// Peers try whether each other's addresses can be dialled. Who cannot be
			// has relays introduce others, and meets them directly: a stream of ours
			// is never opened on a relayed connection.
			libp2p.EnableNATService(), libp2p.EnableAutoNATv2(),
			libp2p.EnableHolePunching(),
			libp2p.EnableAutoRelayWithPeerSource(relays, autorelay.WithNumRelays(2), autorelay.WithBootDelay(0), autorelay.WithMinCandidates(1)))
		if cfg.Relay {
			opts = append(opts, libp2p.EnableRelayService(relay.WithResources(relayLimits())))
		}
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w: %d: %w", ErrPortInUse, port, err)
		}
		return nil, fmt.Errorf("libp2p host: %w", err)
	}
	// libp2p is content when any one address could be listened on.
	listens := make(map[int]bool)
	for _, a := range h.Network().ListenAddresses() {
		for _, p := range a.Protocols() {
			listens[p.Code] = true
		}
	}
	if !listens[ma.P_TCP] && cfg.Packets == nil || !listens[ma.P_QUIC_V1] {
		return nil, errors.Join(fmt.Errorf("%w: %d", ErrPortInUse, port), h.Close())
	}
	return h, nil
}

// relayLimits are those of a home that introduces others: 32 nodes, and 64 KiB
// in a minute for each meeting, which is enough to agree on a direct connection
// and for nothing else.
func relayLimits() relay.Resources {
	r := relay.DefaultResources()
	r.MaxReservations, r.MaxCircuits = 32, 4
	r.Limit = &relay.RelayLimit{Duration: time.Minute, Data: 64 << 10}
	return r
}

func listenAddrs(cfg Config, port int) []ma.Multiaddr {
	ip := cfg.IP
	ips := []netip.Addr{ip}
	if !ip.IsValid() || ip.IsUnspecified() {
		ips = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	var addrs []ma.Multiaddr
	for _, ip := range ips {
		family := "ip4"
		if ip.Is6() {
			family = "ip6"
		}
		addrs = append(addrs, ma.StringCast(fmt.Sprintf("/%s/%s/udp/%d/quic-v1", family, ip, port)))
		if cfg.Packets == nil {
			addrs = append(addrs, ma.StringCast(fmt.Sprintf("/%s/%s/tcp/%d", family, ip, port)))
		}
	}
	return addrs
}

// resourceManager is libp2p's, scaled to this machine, with our services
// bounded per peer: what the peers of one IP may ask is bounded by admission.
func resourceManager() (network.ResourceManager, error) {
	var ours rcmgr.PartialLimitConfig
	// libp2p's own services have limits of their own.
	ours.ServicePeerDefault = rcmgr.ResourceLimits{StreamsInbound: 64, StreamsOutbound: 64, Streams: 128}
	ours.Protocol = make(map[protocol.ID]rcmgr.ResourceLimits)
	for _, s := range []Service{helloService, bundleService, rowService} {
		ours.Protocol[s.id()] = rcmgr.ResourceLimits{StreamsInbound: 1024, StreamsOutbound: 1024, Streams: 2048}
	}
	scaling := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&scaling)
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(ours.Build(scaling.AutoScale())))
}

// sockets are made at the address that all dials come from; the zero value and
// the unspecified addresses leave it to the system. Peers identify a node's
// BitTorrent side by the IP address they see here, so on a machine with many
// addresses, and in devnets, where each node has its own 127.0.0.x, the right
// one must be bound.
type sockets struct {
	ip      netip.Addr
	packets func(*net.UDPAddr) (net.PacketConn, error) // nil: the system's
}

func (s sockets) bound() bool { return s.ip.IsValid() && !s.ip.IsUnspecified() }

func (s sockets) tcpDialer(ma.Multiaddr) (tcp.ContextDialer, error) {
	var d net.Dialer
	if s.bound() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.ip, 0))
	}
	return &d, nil
}

// quic makes the sockets of the QUIC transport. Unlike libp2p's own maker it can
// bind them for dialling; like it, it puts every inbound connection under the
// resource manager from the first packet on, and closes with the host.
func (s sockets) quic(
	reset quic.StatelessResetKey, tokens quic.TokenGeneratorKey, limits network.ResourceManager, life fx.Lifecycle,
) (*quicreuse.ConnManager, error) {
	opts := []quicreuse.Option{
		quicreuse.VerifySourceAddress(limits.VerifySourceAddress),
		quicreuse.ConnContext(func(ctx context.Context, from *quic.ClientInfo) (context.Context, error) {
			addr, err := quicreuse.ToQuicMultiaddr(from.RemoteAddr, quic.Version1)
			if err != nil {
				return ctx, err
			}
			scope, err := limits.OpenConnection(network.DirInbound, false, addr)
			if err != nil {
				return ctx, err
			}
			context.AfterFunc(ctx, scope.Done)
			return network.WithConnManagementScope(ctx, scope), nil
		}),
	}
	if s.bound() {
		opts = append(opts,
			quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return s, nil }),
			quicreuse.OverrideListenUDP(s.listenUDP))
	}
	m, err := quicreuse.NewConnManager(reset, tokens, opts...)
	if err != nil {
		return nil, fmt.Errorf("QUIC sockets: %w", err)
	}
	life.Append(fx.StopHook(m.Close))
	return m, nil
}

// PreferredSourceIPForDestination implements quicreuse.SourceIPSelector: it
// makes QUIC dial from the socket that listens on the address.
func (s sockets) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) {
	return s.ip.AsSlice(), nil
}

// listenUDP refuses the wildcard socket that QUIC would open to dial addresses
// of the other family.
func (s sockets) listenUDP(network string, at *net.UDPAddr) (net.PacketConn, error) {
	if at.IP.IsUnspecified() {
		return nil, fmt.Errorf("%s leaves from %s only", network, s.ip)
	}
	if s.packets != nil {
		return s.packets(at)
	}
	return net.ListenUDP(network, at)
}
