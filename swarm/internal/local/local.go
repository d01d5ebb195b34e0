// Package local finds peers on the networks that this machine is on, by local
// service discovery (BEP 14): a datagram to a multicast group says which
// torrents somebody has, and at which port. IPv4 only.
//
// What is heard is a stranger's word. A message is at most 1,400 bytes, parsed
// within them; it counts only if it came by multicast from an address of the
// same network, so nobody farther away can make us dial into the home.
package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/net/ipv4"
)

// Group is where everybody listens.
var Group = netip.MustParseAddrPort("239.192.152.143:6771")

// Config is what a Node is made of. Group and Heard are required.
type Config struct {
	Group netip.AddrPort
	IP    netip.Addr // the network of this address alone; zero: all networks

	// Heard is told of each torrent that somebody says he has. It is called
	// from one goroutine for each network.
	Heard func(Hash, netip.AddrPort)
}

// Node speaks and listens. Its methods may be called by any number of
// goroutines.
type Node struct {
	cfg     Config
	cookie  string
	nets    []*network
	reading sync.WaitGroup
}

// network is one interface of the machine.
type network struct {
	iface    net.Interface
	prefixes []netip.Prefix
	socket   *net.UDPConn
	conn     *ipv4.PacketConn
}

// ErrNoNetwork reports that there is no network to listen on.
var ErrNoNetwork = errors.New("no network with multicast")

// Open joins the group on every network that allows it. Close it.
func Open(cfg Config) (*Node, error) {
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	var random [8]byte
	_, _ = rand.Read(random[:])
	n := &Node{cfg: cfg, cookie: hex.EncodeToString(random[:])}
	var errs []error
	for _, iface := range ifaces {
		prefixes := on(iface, cfg.IP)
		if len(prefixes) == 0 {
			continue
		}
		nw, err := join(iface, prefixes, cfg.Group)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", iface.Name, err))
			continue
		}
		n.nets = append(n.nets, nw)
	}
	if len(n.nets) == 0 {
		return nil, fmt.Errorf("listen for local peers: %w", errors.Join(append(errs, ErrNoNetwork)...))
	}
	for _, nw := range n.nets {
		n.reading.Go(func() { n.read(nw) })
	}
	return n, nil
}

// on returns the IPv4 networks of an interface that is up: those with ip, if it
// is valid; else all but loopback.
func on(iface net.Interface, ip netip.Addr) []netip.Prefix {
	if iface.Flags&net.FlagUp == 0 || !ip.IsValid() && iface.Flags&(net.FlagLoopback|net.FlagMulticast) != net.FlagMulticast {
		return nil
	}
	addrs, err := iface.Addrs()
	if err != nil {
		return nil
	}
	var list []netip.Prefix
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is4() && (!ip.IsValid() || p.Contains(ip)) {
			list = append(list, p)
		}
	}
	return list
}

func join(iface net.Interface, prefixes []netip.Prefix, group netip.AddrPort) (*network, error) {
	socket, err := net.ListenMulticastUDP("udp4", &iface, net.UDPAddrFromAddrPort(group))
	if err != nil {
		return nil, err
	}
	conn := ipv4.NewPacketConn(socket)
	err = errors.Join(
		conn.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true), // see read
		conn.SetMulticastInterface(&iface),
		conn.SetMulticastLoopback(true), // others on this machine
		conn.SetMulticastTTL(1),         // no farther than this network
	)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return &network{iface, prefixes, socket, conn}, nil
}

// Close ends listening; Heard is not called any more once it returns.
func (n *Node) Close() error {
	var errs []error
	for _, nw := range n.nets {
		errs = append(errs, nw.socket.Close())
	}
	n.reading.Wait()
	return errors.Join(errs...)
}

// Tell says on all networks that we have torrents, at a port of the address
// that the others see. It fails only if no network takes it.
func (n *Node) Tell(ctx context.Context, port uint16, hashes ...Hash) error {
	for part := range slices.Chunk(hashes, maxHashes) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b := message{port, part, n.cookie}.encode(n.cfg.Group)
		var errs []error
		told := false
		for _, nw := range n.nets {
			err := nw.tell(b, n.cfg)
			errs, told = append(errs, err), told || err == nil
		}
		if !told {
			return fmt.Errorf("tell local peers: %w", errors.Join(errs...))
		}
	}
	return nil
}

// tell sends one datagram for each address that we have in the network, from
// it: the system would choose another one on loopback.
func (nw *network) tell(b []byte, cfg Config) error {
	for _, p := range nw.prefixes {
		from := p.Addr()
		if cfg.IP.IsValid() {
			from = cfg.IP
		}
		about := &ipv4.ControlMessage{Src: from.AsSlice(), IfIndex: nw.iface.Index}
		if _, err := nw.conn.WriteTo(b, about, net.UDPAddrFromAddrPort(cfg.Group)); err != nil {
			return fmt.Errorf("%s: %w", nw.iface.Name, err)
		}
	}
	return nil
}

// read hears what comes in from one network until it is closed.
func (n *Node) read(nw *network) {
	buf := make([]byte, maxMessage+1)
	for {
		size, about, from, err := nw.conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// The socket takes datagrams for any address of the machine and, on
		// some systems, of groups joined on other interfaces.
		if err != nil || about == nil || !about.Dst.IsMulticast() || about.IfIndex != nw.iface.Index {
			continue
		}
		udp, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		ip := udp.AddrPort().Addr().Unmap()
		if !slices.ContainsFunc(nw.prefixes, func(p netip.Prefix) bool { return p.Contains(ip) }) {
			continue
		}
		m, ok := parse(buf[:size])
		if !ok || m.cookie == n.cookie {
			continue
		}
		for _, h := range m.hashes {
			n.cfg.Heard(h, netip.AddrPortFrom(ip, m.port))
		}
	}
}
