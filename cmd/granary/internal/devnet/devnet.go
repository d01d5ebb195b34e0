package devnet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/durable"
	"granary/ledger"
	"granary/ledger/chain"
)

const (
	// Custody is the number of groups of 64 that each custodian keeps.
	Custody = 24

	// publisherCredits lets the publisher have 1 TiB kept for a year.
	publisherCredits = 365 << 40
)

// Plan says which nodes a devnet has.
type Plan struct {
	Validators int
	Custodians int
	Others     []string // names of nodes that keep no custody; "publisher" gets credits

	AnnounceWindow time.Duration // for a certificate; 0: that of ledger.DevnetParams
	RetryRound     time.Duration // between tests of a block; 0: that of ledger.DevnetParams

	// Place, if not nil, says where node number i, counted from 1, runs, and the
	// network is then no devnet: nodes use the usual ports, and dial public
	// addresses only.
	Place func(i int) Place
}

// Place is a machine that a node runs on.
type Place struct {
	IP  netip.Addr // a private one is behind a router: nobody is told it
	Run []string   // what runs granary there, arguments follow; nil: this binary here
}

// Net is a devnet on disk: homes and a network file. Nodes are started one by
// one.
type Net struct {
	Dir     string // holds everything, one folder per node
	Network config.Network
	File    string // the network file
	Nodes   map[string]*Node
	base    [2]byte // its addresses are 127.base.x
	shared  bool    // all nodes share 127.0.0.1
	where   func(i int) Place
}

// New lays out a devnet in dir, which must be empty: keys, addresses, free
// ports, the network file and a home for each node.
func New(dir string, plan Plan) (*Net, error) {
	n := &Net{
		Dir: dir, File: filepath.Join(dir, "network.json"), Nodes: map[string]*Node{},
		base:  [2]byte{byte(1 + rand.IntN(254)), byte(rand.IntN(255))},
		where: plan.Place,
	}
	if n.where != nil {
		n.shared = false
	} else if l, err := net.Listen("tcp", net.JoinHostPort(n.ip(1).String(), "0")); err != nil {
		n.shared = true
	} else if err := l.Close(); err != nil {
		return nil, err
	}
	for i := range plan.Validators {
		if err := n.place(fmt.Sprintf("validator-%d", i+1), "validator"); err != nil {
			return nil, err
		}
	}
	for i := range plan.Custodians {
		if err := n.place(fmt.Sprintf("custodian-%d", i+1), "seeder"); err != nil {
			return nil, err
		}
	}
	for _, name := range plan.Others {
		if err := n.place(name, "light"); err != nil {
			return nil, err
		}
	}
	var err error
	if n.Network, err = n.found(plan); err != nil {
		return nil, err
	}
	if err := durable.Write(n.File, n.Network.Encode(), 0o644); err != nil {
		return nil, err
	}
	for _, nd := range n.Nodes {
		if err := n.prepare(nd); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// Add lays out one more node, of role seeder or light; it is not started.
func (n *Net) Add(name, role string) (*Node, error) {
	if err := n.place(name, role); err != nil {
		return nil, err
	}
	return n.Nodes[name], n.prepare(n.Nodes[name])
}

// place gives a node its keys, address and ports.
func (n *Net) place(name, role string) error {
	nd := &Node{Name: name, Role: role, Home: filepath.Join(n.Dir, name), IP: n.ip(len(n.Nodes) + 1)}
	if n.where != nil {
		place := n.where(len(n.Nodes) + 1)
		nd.IP, nd.run = place.IP, place.Run
	}
	home, err := config.Keys(nd.Home)
	if err != nil {
		return err
	}
	nd.keys = home
	if nd.Peer, err = home.PeerID(); err != nil {
		return err
	}
	for i, port := range []*int{&nd.Port, &nd.TorrentPort, &nd.consensusPort} {
		if n.where != nil {
			*port = 4747 + i
		} else if *port, err = freePort(nd.IP); err != nil {
			return err
		}
	}
	n.Nodes[name] = nd
	return nil
}

// found writes the genesis of all validators placed so far.
func (n *Net) found(plan Plan) (config.Network, error) {
	params := ledger.DevnetParams()
	params.Custody = Custody
	params.AnnounceWindow = cmp.Or(plan.AnnounceWindow, params.AnnounceWindow)
	params.RetryRound = cmp.Or(plan.RetryRound, params.RetryRound)
	g := ledger.Genesis{
		ChainID: fmt.Sprintf("devnet-%02x%02x", n.base[0], n.base[1]),
		Time:    time.Now().UTC().Truncate(time.Millisecond),
		Params:  params,
	}
	network := config.Network{Devnet: n.where == nil}
	for _, name := range slices.Sorted(maps.Keys(n.Nodes)) {
		nd := n.Nodes[name]
		if nd.Role == "validator" {
			v, err := nd.keys.Validator(g.ChainID, name, 10)
			if err != nil {
				return network, err
			}
			g.Validators = append(g.Validators, v)
			network.Consensus = append(network.Consensus, nd.consensusAddress())
		}
		if name == "publisher" {
			g.Grants = append(g.Grants, ledger.Grant{Key: ledger.KeyOf(nd.keys.Publisher), Credits: publisherCredits})
		}
		if !nd.IP.IsPrivate() {
			network.Bootstrap = append(network.Bootstrap, nd.Bootstrap())
		}
	}
	network.Genesis = g
	return network, nil
}

// prepare makes the node's home and writes its settings.
func (n *Net) prepare(nd *Node) error {
	if _, err := config.Init(nd.Home, n.Network); err != nil {
		return err
	}
	values := map[string]string{
		"role": nd.Role, "listen": nd.IP.String(), "port": strconv.Itoa(nd.Port), "torrent-port": strconv.Itoa(nd.TorrentPort),
	}
	if nd.Role == "validator" {
		var peers []string
		for _, other := range n.Nodes {
			if other.Role == "validator" && other != nd {
				peers = append(peers, other.consensusAddress())
			}
		}
		values["consensus-port"], values["consensus-peers"] = strconv.Itoa(nd.consensusPort), strings.Join(peers, ",")
	}
	settings := config.NewSettings()
	for name, value := range values {
		if err := settings.Set(name, value); err != nil {
			return err
		}
	}
	return durable.Write(filepath.Join(nd.Home, config.SettingsFile), settings.File(), 0o644)
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

// PeakMemory is the most memory that each node's processes took, added up, in
// bytes; 0 where the system does not tell.
func (n *Net) PeakMemory() int64 {
	var all int64
	for _, nd := range n.Nodes {
		nd.notePeak()
		all += nd.peak
	}
	return all
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
		done := nd.done
		go func() {
			select {
			case <-done:
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

// consensusAddress is where other validators find the node.
func (nd *Node) consensusAddress() string {
	return fmt.Sprintf("%s@%s:%d", chain.NodeID(nd.keys.Public.Node), nd.IP, nd.consensusPort)
}

// Bootstrap is the multiaddr under which others find the node.
func (nd *Node) Bootstrap() string {
	return fmt.Sprintf("/ip4/%s/udp/%d/quic-v1/p2p/%s", nd.IP, nd.Port, nd.Peer)
}
