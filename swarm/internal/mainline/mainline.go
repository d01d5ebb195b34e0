// Package mainline looks for peers in BitTorrent's public DHT (BEP 5), and
// announces us there.
//
// It is a read-only node (BEP 43): it asks, and answers nobody, so it costs a
// home line nothing but its own lookups and is in nobody's routing table. IPv4
// and IPv6 (BEP 32) both work, whichever the nodes asked give.
//
// Everything that comes in is a stranger's: a packet counts only if it answers
// a request, by number and by address; it is parsed within its own size; and a
// lookup asks at most maxAsked nodes, only those that the caller allows.
package mainline

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// ErrNoNodes reports that not one node of the DHT answered.
var ErrNoNodes = errors.New("no node of the mainline DHT answers")

// Public are well-known nodes to begin with.
var Public = [...]string{
	"dht.libtorrent.org:25401",
	"router.bittorrent.com:6881",
	"dht.transmissionbt.com:6881",
	"router.utorrent.com:6881",
}

const (
	closest  = 8   // nodes that keep an announcement: k of Kademlia
	atOnce   = 4   // requests of one lookup
	maxAsked = 128 // of one lookup; 30 to 60 are usual
	maxKnown = 256 // nodes remembered to begin the next lookup with

	answerTime = 2 * time.Second

	// Requests of all lookups together: some 12 kB/s with their answers.
	perSecond = 40
)

// ID is a place in the DHT: of a node, or of a torrent.
type ID [20]byte

// Config is what a Node is made of. Conn is required.
type Config struct {
	Conn  net.PacketConn            // closed by Close
	Begin []string                  // host:port of nodes that are asked first
	Allow func(netip.AddrPort) bool // whether a node that others named may be asked; nil: all may

	// Answered is told of the size of each answer; nil: nobody is. Other packets,
	// which anybody can send, count nowhere.
	Answered func(bytes int)
}

// Node asks the DHT. Its methods may be called by any number of goroutines.
type Node struct {
	cfg     Config
	id      ID
	pace    *rate.Limiter
	reading sync.WaitGroup

	mu      sync.Mutex
	waiting map[uint16]request // guarded by mu: by transaction number
	known   []contact          // guarded by mu: answered before, oldest first
}

// contact is a node.
type contact struct {
	id   ID
	addr netip.AddrPort
}

// request awaits its answer.
type request struct {
	to     netip.AddrPort
	answer chan reply // has room for it
}

// Open makes a node. Close it.
func Open(cfg Config) *Node {
	if cfg.Allow == nil {
		cfg.Allow = func(netip.AddrPort) bool { return true }
	}
	if cfg.Answered == nil {
		cfg.Answered = func(int) {}
	}
	n := &Node{cfg: cfg, pace: rate.NewLimiter(perSecond, perSecond/2), waiting: map[uint16]request{}}
	_, _ = rand.Read(n.id[:])
	n.reading.Go(n.read)
	return n
}

// Close ends reading. Lookups under way end within answerTime.
func (n *Node) Close() error {
	err := n.cfg.Conn.Close()
	n.reading.Wait()
	return err
}

// read hands answers to those who wait for them.
func (n *Node) read() {
	buf := make([]byte, 2048) // answers have at most 1,400 bytes or so
	for {
		size, from, err := n.cfg.Conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of somebody's, say
		}
		udp, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		r, ok := parse(buf[:size])
		if !ok {
			continue
		}
		n.mu.Lock()
		w, ok := n.waiting[r.number]
		if ok = ok && w.to == canonical(udp.AddrPort()); ok {
			delete(n.waiting, r.number)
		}
		n.mu.Unlock()
		if ok {
			n.cfg.Answered(size)
			w.answer <- r
		}
	}
}

// errUnsent reports a request that was never sent: it says nothing of the node.
var errUnsent = errors.New("not asked")

// ask sends one query and waits for its answer.
func (n *Node) ask(ctx context.Context, to netip.AddrPort, q query) (reply, error) {
	if err := n.pace.Wait(ctx); err != nil {
		return reply{}, fmt.Errorf("%w: %w", errUnsent, err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	w := request{to, make(chan reply, 1)}
	n.mu.Lock()
	number := uint16(mrand.Uint32()) // hard to guess for who only knows whom we ask
	for _, taken := n.waiting[number]; taken; _, taken = n.waiting[number] {
		number++
	}
	n.waiting[number] = w
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.waiting, number)
		n.mu.Unlock()
	}()
	if _, err := n.cfg.Conn.WriteTo(q.encode(number, n.id), net.UDPAddrFromAddrPort(to)); err != nil {
		return reply{}, err
	}
	select {
	case r := <-w.answer:
		if r.refused {
			return r, errors.New("refused")
		}
		return r, nil
	case <-ctx.Done():
		return reply{}, ctx.Err()
	}
}

// start is whom a lookup asks first: nodes that answered before, and those
// named by the user when there are few.
func (n *Node) start(ctx context.Context) ([]contact, error) {
	n.mu.Lock()
	list := slices.Clone(n.known)
	n.mu.Unlock()
	if len(list) >= closest {
		return list, nil
	}
	var last error
	for _, name := range n.cfg.Begin {
		addrs, err := resolve(ctx, name)
		if err != nil {
			last = err
		}
		for _, a := range addrs {
			list = append(list, contact{addr: a}) // its ID shows when it answers
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: %w", ErrNoNodes, last)
	}
	return list, nil
}

// Check reports whether name is a host and a port.
func Check(name string) error {
	host, service, err := net.SplitHostPort(name)
	if err != nil {
		return err
	}
	if port, err := strconv.ParseUint(service, 10, 16); err != nil || port == 0 || host == "" {
		return fmt.Errorf("node %q of the mainline DHT: want host:port", name)
	}
	return nil
}

func resolve(ctx context.Context, name string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(name)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	var list []netip.AddrPort
	for _, ip := range ips {
		list = append(list, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return list, err
}

// answered remembers a node; it replaces the oldest when there are too many.
func (n *Node) answered(c contact) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known = slices.DeleteFunc(n.known, func(o contact) bool { return o.addr == c.addr })
	if len(n.known) == maxKnown {
		n.known = n.known[1:]
	}
	n.known = append(n.known, c)
}

// silent forgets a node.
func (n *Node) silent(addr netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known = slices.DeleteFunc(n.known, func(o contact) bool { return o.addr == addr })
}

// canonical gives an IPv4 address its four-byte form.
func canonical(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
