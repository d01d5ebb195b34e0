package kad

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	routed "github.com/libp2p/go-libp2p/p2p/host/routed"

	"granary/erasure"
	"granary/sampling"
	"granary/sampling/kad/internal/wire"
)

// ErrClosed reports a call on a closed Host.
var ErrClosed = errors.New("host is closed")

// Config says who a node is and which network it joins. Chain and Key are
// required; the zero value of everything else works.
type Config struct {
	Chain        string             // chain ID, 1 to 64 bytes: separates networks that share peers
	Key          ed25519.PrivateKey // the node's identity
	IP           netip.Addr         // listens on and dials from it; zero: all addresses
	Port         int                // the same on TCP and QUIC; 0: any free one
	Bootstrap    []string           // multiaddrs that end in /p2p/ID; the node's own is skipped
	Devnet       bool               // loopback and private addresses count, and always a DHT server
	Client       bool               // DHT client: asks and provides, stores nothing for others
	CustodyCount int                // groups per custodian in this network
	Custodian    bool               // this node keeps the pieces of its groups and says so
	Hidden       bool               // begin as after ShowCustody(false)
	TorrentPort  int                // BitTorrent port told to peers; 0: none
	ServeRate    int64              // bytes per second for rows and other replies together; 0: no limit
	Relay        bool               // introduce nodes that cannot be dialled to others; a few at a time, and no rows
	Holders      []byte             // what Host.Holders returned before a restart
	Logger       *slog.Logger       // nil: discard

	// Packets makes the sockets of a network that is only simulated: QUIC runs
	// on what it returns for the address listened on, and TCP is left out. nil:
	// the system's.
	Packets func(at *net.UDPAddr) (net.PacketConn, error)
}

func (c Config) check() error {
	if len(c.Chain) == 0 || len(c.Chain) > wire.MaxChain {
		return fmt.Errorf("chain ID has %d bytes, want 1 to %d", len(c.Chain), wire.MaxChain)
	}
	if len(c.Key) != ed25519.PrivateKeySize {
		return fmt.Errorf("node key has %d bytes, want %d", len(c.Key), ed25519.PrivateKeySize)
	}
	for _, port := range []int{c.Port, c.TorrentPort} {
		if port < 0 || port > 65535 {
			return fmt.Errorf("port %d outside 0 to 65535", port)
		}
	}
	return nil
}

// Source is what a Host serves. Its methods are called concurrently, on behalf
// of peers, and never after Host.Close has returned. What they return is only
// read.
type Source interface {
	// Bundle describes a block: ErrNotHeld if it is unknown. A bundle without
	// proof is answered as pending.
	Bundle(id erasure.ID) (erasure.Bundle, error)
	// Row returns a verified row and its Merkle path, or ErrNotHeld, or
	// ErrPending if it is owed and on its way.
	Row(id erasure.ID, row int) ([]byte, []erasure.Root, error)
	// Held returns the pieces held, the zero set for an unknown block.
	Held(id erasure.ID) erasure.PieceSet
}

// Host is a node's presence in the network. All methods are safe for
// concurrent use.
type Host struct {
	cfg    Config
	log    *slog.Logger
	src    Source
	boot   []peer.AddrInfo
	host   host.Host // plain
	routed host.Host // the same, looking up in the DHT the peers it has no address of
	dht    *dht.IpfsDHT
	gossip *gossip
	keys   *standing
	admit  *admission
	hidden atomic.Bool // see ShowCustody
	table  *table
	counts counts

	listening chan struct{} // closed when host is set

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc

	mu     sync.Mutex // guards what follows
	closed bool
	work   sync.WaitGroup // goroutines of ours and requests being served; Add only while not closed
	notes  map[peer.ID]*note
	reach  network.Reachability // what AutoNAT says
}

// note is what is remembered of a connected peer.
type note struct {
	hello  *Hello        // its last; nil for none
	took   time.Duration // from the question to that hello
	useful time.Time     // when it last gave a row or a description
}

// Open starts a node of the network and returns once it listens. Joining goes
// on in the background until Close. It returns ErrPortInUse if cfg.Port is
// taken. ctx bounds only the opening.
func Open(ctx context.Context, cfg Config, src Source) (_ *Host, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cfg.IP = cfg.IP.Unmap()
	boot, err := parseBootstrap(cfg.Bootstrap)
	if err != nil {
		return nil, err
	}
	quiet()

	h := &Host{
		cfg:   cfg,
		log:   cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)),
		src:   src,
		admit: newAdmission(cfg.ServeRate),
		boot:  boot,
		notes: make(map[peer.ID]*note),

		listening: make(chan struct{}),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if h.host, err = listen(cfg, h.relays); err != nil {
		return nil, err
	}
	close(h.listening)
	h.table = newTable(func(p peer.ID) sampling.GroupSet {
		if p == h.host.ID() {
			return 0
		}
		return h.groupsOf(p)
	})
	h.loadHolders()
	if h.dht, err = newDHT(eager{h.host, newDials(h)}, cfg); err != nil {
		return nil, err
	}
	h.routed = routed.Wrap(eager{Host: h.host}, h.dht)
	h.keys = newStanding(h.host, h.dht, cfg)
	if h.gossip, err = joinGossip(h.ctx, h.host, cfg.Chain, &h.counts); err != nil {
		return nil, err
	}
	h.host.Network().Notify(&network.NotifyBundle{DisconnectedF: h.forget})
	h.serveProtocols()

	if h.hidden.Store(cfg.Hidden); !cfg.Hidden {
		if err := h.keys.provideGroups(h.Groups()); err != nil {
			return nil, err
		}
	}
	h.start(func() { h.keys.settle(h.ctx) })
	h.start(func() { h.bootstrap(h.ctx) })
	h.start(func() { h.refresh(h.ctx) })
	h.start(func() { h.followReach(h.ctx) })
	return h, nil
}

// Close leaves the network and waits for everything the Host started. It may
// be called more than once.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()

	h.cancel() // gossip ends with it
	var errs []error
	if h.keys != nil {
		errs = append(errs, h.keys.close())
	}
	if h.dht != nil {
		errs = append(errs, h.dht.Close())
	}
	if h.host != nil {
		errs = append(errs, h.host.Close())
	}
	h.work.Wait()
	return errors.Join(errs...)
}

// start runs f in a goroutine that Close waits for; it reports whether it did,
// which it does not once the Host is closed.
func (h *Host) start(f func()) bool {
	if !h.enter() {
		return false
	}
	go func() {
		defer h.work.Done()
		f()
	}()
	return true
}

// enter makes Close wait for a matching h.work.Done, unless it returns false.
func (h *Host) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.work.Add(1)
	return true
}

// within returns a context that ends with ctx or when the Host closes.
func (h *Host) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(h.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// ID is the node's peer ID, which follows from its key.
func (h *Host) ID() peer.ID { return h.host.ID() }

// Addrs returns the multiaddrs at which the node can be reached, as far as it
// knows, each ending in /p2p/ and its ID.
func (h *Host) Addrs() []string {
	var addrs []string
	for _, a := range h.host.Addrs() {
		addrs = append(addrs, fmt.Sprintf("%s/p2p/%s", a, h.host.ID()))
	}
	return addrs
}

// Groups returns the custody groups of this node, none if it is no custodian.
func (h *Host) Groups() sampling.GroupSet {
	if !h.cfg.Custodian {
		return 0
	}
	return h.groupsOf(h.host.ID())
}

func (h *Host) groupsOf(p peer.ID) sampling.GroupSet {
	return sampling.Custody(h.cfg.Chain, []byte(p), h.cfg.CustodyCount)
}

// PeerInfo describes a connected peer.
type PeerInfo struct {
	Peer    peer.ID
	Addr    string    // multiaddr of its oldest connection, a direct one if there is any
	Inbound bool      // the peer dialled
	Since   time.Time // start of that connection
	Agent   string    // what the peer calls its software
	Hello   *Hello    // its last hello on this connection, nil for none; Known and Held are unset
	Relayed bool      // through a relay only, not directly

	Latency time.Duration // from asking to that hello; 0 without one
	Useful  time.Time     // when it last gave us a row or a description; zero: not yet
}

// Peers returns the connected peers, of whatever network, sorted by ID.
func (h *Host) Peers() []PeerInfo {
	var peers []PeerInfo
	for _, p := range h.host.Network().Peers() {
		conns := h.host.Network().ConnsToPeer(p)
		if len(conns) == 0 {
			continue
		}
		oldest := slices.MinFunc(conns, func(a, b network.Conn) int {
			switch a, b := a.Stat(), b.Stat(); {
			case a.Limited == b.Limited:
				return a.Opened.Compare(b.Opened)
			case b.Limited:
				return -1 // what is asked goes the direct way
			}
			return 1
		})
		info := PeerInfo{
			Peer:    p,
			Addr:    oldest.RemoteMultiaddr().String(),
			Inbound: oldest.Stat().Direction == network.DirInbound,
			Since:   oldest.Stat().Opened,
			Relayed: oldest.Stat().Limited,
		}
		if agent, err := h.host.Peerstore().Get(p, "AgentVersion"); err == nil {
			info.Agent, _ = agent.(string)
		}
		h.mu.Lock()
		if n := h.notes[p]; n != nil {
			info.Hello, info.Latency, info.Useful = n.hello, n.took, n.useful
		}
		h.mu.Unlock()
		peers = append(peers, info)
	}
	slices.SortFunc(peers, func(a, b PeerInfo) int { return cmp.Compare(a.Peer, b.Peer) })
	return peers
}

// remember changes what is noted of a connected peer, so that there are no more
// notes than connections.
func (h *Host) remember(p peer.ID, change func(*note)) {
	h.mu.Lock()
	if h.notes[p] == nil {
		h.notes[p] = new(note)
	}
	change(h.notes[p])
	h.mu.Unlock()
	if h.host.Network().Connectedness(p) != network.Connected {
		h.forget(h.host.Network(), nil) // it was gone already
	}
}

// forget drops the notes on peers that are no longer connected.
func (h *Host) forget(n network.Network, _ network.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p := range h.notes {
		if n.Connectedness(p) != network.Connected {
			delete(h.notes, p)
		}
	}
}
