package devnet

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/durable"
)

// Custody is the number of groups of 64 that each custodian keeps.
const Custody = 24

// Plan says which nodes a devnet has.
type Plan struct {
	Custodians int
	Others     []string // names of nodes that keep no custody; "publisher" may publish
}

// Net is a devnet on disk: homes and a network file. Nodes are started one by
// one.
type Net struct {
	Dir     string // holds everything, one folder per node
	Network config.Network
	File    string // the network file
	Nodes   map[string]*Node
	base    [2]byte // the net is 127.base.0 and 127.base.1
	shared  bool    // all nodes share 127.0.0.1
}

// New lays out a devnet in dir, which must be empty: keys, addresses, free
// ports, the network file and a home for each node.
func New(dir string, plan Plan) (*Net, error) {
	n := &Net{
		Dir: dir, File: filepath.Join(dir, "network.json"), Nodes: map[string]*Node{},
		base: [2]byte{byte(1 + rand.IntN(254)), byte(rand.IntN(255))},
	}
	n.Network = config.Network{
		ChainID: fmt.Sprintf("devnet-%02x%02x", n.base[0], n.base[1]),
		Custody: Custody, Devnet: true, Bootstrap: []string{}, Publishers: []string{},
	}
	if l, err := net.Listen("tcp", net.JoinHostPort(n.ip(1).String(), "0")); err != nil {
		n.shared = true
	} else if err := l.Close(); err != nil {
		return nil, err
	}
	for i := range plan.Custodians {
		if _, err := n.Add(fmt.Sprintf("custodian-%d", i+1), true); err != nil {
			return nil, err
		}
	}
	for _, name := range plan.Others {
		nd, err := n.Add(name, false)
		if err != nil {
			return nil, err
		}
		if name == "publisher" {
			n.Network.Publishers = append(n.Network.Publishers, hex.EncodeToString(nd.publisher))
		}
	}
	for _, nd := range n.Nodes {
		n.Network.Bootstrap = append(n.Network.Bootstrap, nd.Bootstrap())
	}
	return n, n.save()
}

// save writes the network's file, and into every home.
func (n *Net) save() error {
	if err := durable.Write(n.File, n.Network.Encode(), 0o644); err != nil {
		return err
	}
	for _, nd := range n.Nodes {
		if _, err := config.Init(nd.Home, n.Network); err != nil {
			return err
		}
	}
	return nil
}

// Add lays out one more node; it is not started.
func (n *Net) Add(name string, custodian bool) (*Node, error) {
	nd := &Node{Name: name, Home: filepath.Join(n.Dir, name), IP: n.ip(len(n.Nodes) + 1)}
	home, err := config.Init(nd.Home, n.Network)
	if err != nil {
		return nil, err
	}
	if nd.Peer, err = home.PeerID(); err != nil {
		return nil, err
	}
	nd.publisher = home.Publisher.Public().(ed25519.PublicKey)
	if nd.Port, err = freePort(nd.IP); err != nil {
		return nil, err
	}
	if nd.TorrentPort, err = freePort(nd.IP); err != nil {
		return nil, err
	}
	role := "light"
	if custodian {
		role = "seeder"
	}
	settings := fmt.Sprintf("role = %q\nlisten = %q\nport = %d\ntorrent_port = %d\n", role, nd.IP, nd.Port, nd.TorrentPort)
	if err := durable.Write(filepath.Join(nd.Home, "config.toml"), []byte(settings), 0o644); err != nil {
		return nil, err
	}
	n.Nodes[name] = nd
	return nd, nil
}

// Address returns an address of the net that no node has, for a command that
// joins for a moment.
func (n *Net) Address(i int) netip.Addr { return n.ip(len(n.Nodes) + 1 + i) }

func (n *Net) ip(i int) netip.Addr {
	if n.shared {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrFrom4([4]byte{127, n.base[0], n.base[1], byte(i)})
}

// Start starts the named nodes and waits until each answers.
func (n *Net) Start(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := n.Nodes[name].Start(ctx); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := n.Nodes[name].Await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close ends every node: first all are asked, then each is waited for.
func (n *Net) Close() error {
	var errs []error
	for _, nd := range n.Nodes {
		nd.release()
	}
	for _, nd := range n.Nodes {
		errs = append(errs, nd.end())
	}
	return errors.Join(errs...)
}

// WriteNetwork writes a copy of the network file that knows only the given
// bootstrap address.
func (n *Net) WriteNetwork(name, bootstrap string) (path string, err error) {
	only := n.Network
	only.Bootstrap = []string{bootstrap}
	path = filepath.Join(n.Dir, name)
	return path, durable.Write(path, only.Encode(), 0o644)
}

// Lost returns a channel on which the name of every started node that ends
// before Close is sent.
func (n *Net) Lost(ctx context.Context) <-chan string {
	lost := make(chan string)
	for _, nd := range n.Nodes {
		if nd.process == nil {
			continue
		}
		go func() {
			select {
			case <-nd.done:
			case <-ctx.Done():
				return
			}
			select {
			case lost <- nd.Name:
			case <-ctx.Done():
			}
		}()
	}
	return lost
}

// freePort finds a port that is free for TCP and UDP on ip. It can be taken
// before it is used; a devnet's addresses are its own, so nobody does.
func freePort(ip netip.Addr) (int, error) {
	for range 20 {
		l, err := net.Listen("tcp", net.JoinHostPort(ip.String(), "0"))
		if err != nil {
			return 0, fmt.Errorf("find a free port on %s: %w", ip, err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, uerr := net.ListenPacket("udp", l.Addr().String())
		if uerr == nil {
			uerr = u.Close()
		}
		if err := l.Close(); err != nil {
			return 0, err
		}
		if uerr == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port on %s", ip)
}

// Remove deletes everything of the net; call it after Close.
func (n *Net) Remove() error { return os.RemoveAll(n.Dir) }

// Bootstrap is the multiaddr under which others find the node.
func (nd *Node) Bootstrap() string {
	return fmt.Sprintf("/ip4/%s/udp/%d/quic-v1/p2p/%s", nd.IP, nd.Port, peer.ID(nd.Peer))
}
