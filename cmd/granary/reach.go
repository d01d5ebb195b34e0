package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"granary/blobstore"
	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
	"granary/ledger/chain"
	"granary/sampling"
)

// reach calls f with a client of the home's node. Where none runs, one is
// opened for as long as f takes: in the prepared home, or, when network names
// a network file and the home is none, as a guest that keeps nothing.
func (a *app) reach(ctx context.Context, s *config.Settings, network string, f func(c *gateway.Client, guest bool) error) error {
	home, guest, err := a.openHome(network)
	if err != nil {
		return err
	}
	if c, err := gateway.Dial(ctx, config.Socket(a.home)); err == nil {
		return errors.Join(f(c, false), c.Close())
	}
	if err := s.Resolve(a.home); err != nil {
		return err
	}
	if err := a.unlock(ctx, home); err != nil {
		return err
	}
	// A passing command needs no fixed ports.
	if !s.Chosen("port") {
		s.Port = 0
	}
	if !s.Chosen("torrent-port") {
		s.TorrentPort = 0
	}
	cfg := nodeConfig(home, s)
	cfg.Guest, cfg.Custodian, cfg.Validator, cfg.Logger = true, false, nil, a.logger()
	return host(ctx, cfg, netip.AddrPort{}, func(_ context.Context, c *gateway.Client) error { return f(c, guest) })
}

// openHome opens the prepared home, or makes a guest of the named network.
func (a *app) openHome(network string) (home *config.Home, guest bool, err error) {
	home, err = config.OpenHome(a.home)
	if network == "" || err != nil && !errors.Is(err, config.ErrNoHome) {
		return home, false, err
	}
	n, nerr := config.LoadNetwork(network)
	if nerr != nil {
		return nil, false, nerr
	}
	if err == nil {
		if n.Genesis.Hash() != home.Network.Genesis.Hash() {
			return nil, false, fmt.Errorf("%w: %s is on chain %s, %s is of %s",
				config.ErrOtherNetwork, a.home, home.Network.ChainID(), network, n.ChainID())
		}
		return home, false, nil
	}
	dir := filepath.Join(a.home, "guest", n.ChainID())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, false, fmt.Errorf("make folder for the download: %w", err)
	}
	a.home = dir
	home, err = config.Guest(dir, n)
	return home, true, err
}

// nodeConfig is the node that a home and its settings describe.
func nodeConfig(h *config.Home, s *config.Settings) node.Config {
	cfg := node.Config{
		Dir: h.Dir, Genesis: h.Network.Genesis, Checkpoint: h.Network.Checkpoint,
		Identity: h.Node, Publisher: h.Publisher, AttestKeys: h.AttestKeys,
		Bootstrap: h.Network.Bootstrap, Devnet: h.Network.Devnet,
		Custodian: s.Role == "seeder",
		IP:        s.Listen, Port: s.Port, TorrentPort: s.TorrentPort,
		Quota: int64(s.Quota), Relay: s.Relay, UploadRate: int64(s.UploadRate), DownloadRate: int64(s.DownloadRate),
		ScrubEvery: time.Duration(s.ScrubEvery),
		Volume:     int64(s.Volume), Hours: &s.Hours, Connections: s.Connections, Dials: s.Dials,
		WebSeeds: s.WebSeeds, DropParity: !s.KeepParity,
		Sources: node.Sources{Trackers: s.Trackers, Mainline: s.Mainline, Local: s.Local},
	}
	if s.Role == "validator" {
		cfg.Validator = &node.Validator{Consensus: h.Consensus, Port: s.Consensus, Peers: s.Validators}
		if h.Away || s.Signer != "" {
			cfg.Validator.Signer = &chain.Signer{Address: s.Signer, Key: h.Public.Consensus}
		}
		if len(s.Validators) == 0 {
			cfg.Validator.Peers = h.Network.Consensus
		}
	}
	return cfg
}

// host runs a node, answers on its home's socket and, if it is not zero, at an
// address for monitoring, and ends all when f returns or ctx ends.
func host(ctx context.Context, cfg node.Config, monitor netip.AddrPort, f func(context.Context, *gateway.Client) error) (err error) {
	n, err := node.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	var web net.Listener
	if monitor.IsValid() {
		if web, err = gateway.ListenHTTP(monitor); err != nil {
			return &exit.Error{Status: exit.TryAgain, Err: err, Hint: "choose another address with --http"}
		}
		defer web.Close() // again, unless the socket fails
	}
	path, remove, err := config.NewSocket(cfg.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	l, err := gateway.Listen(path)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return gateway.Serve(serving, l, n) })
	if web != nil {
		group.Go(func() error { return gateway.Monitor(serving, web, n) })
	}
	group.Go(func() error {
		defer stop()
		c, err := gateway.Dial(ctx, path)
		if err != nil {
			return err
		}
		return errors.Join(f(ctx, c), c.Close())
	})
	return group.Wait()
}

// blocks calls f with what lists and shows blocks: the running node, or the
// home itself while none runs.
func (a *app) blocks(ctx context.Context, f func(shelf) error) error {
	if c, err := gateway.Dial(ctx, config.Socket(a.home)); err == nil {
		return errors.Join(f(c), c.Close())
	}
	home, err := config.OpenHome(a.home)
	if err != nil {
		return err
	}
	store, err := blobstore.Open(ctx, a.home, blobstore.Config{Logger: a.logger()})
	if err != nil {
		return err
	}
	id, err := home.PeerID()
	if err != nil {
		return errors.Join(err, store.Close())
	}
	groups := sampling.Custody(home.Network.ChainID(), []byte(id), home.Network.Genesis.Params.Custody)
	return errors.Join(f(offline{node.NewShelf(store, groups)}), store.Close())
}

// shelf lists and shows blocks, with or without a running node.
type shelf interface {
	Blocks(ctx context.Context) ([]node.BlockStatus, error)
	Block(ctx context.Context, ref string) (node.BlockStatus, error)
	Torrent(ctx context.Context, ref string) ([]byte, error)
}

type offline struct{ shelf *node.Shelf }

func (o offline) Blocks(context.Context) ([]node.BlockStatus, error) { return o.shelf.Blocks(), nil }

func (o offline) Block(_ context.Context, ref string) (node.BlockStatus, error) {
	r, err := node.ParseRef(ref)
	if err != nil {
		return node.BlockStatus{}, err
	}
	_, s, err := o.shelf.Block(r)
	return s, err
}

func (o offline) Scrub(ctx context.Context, opt node.ScrubOptions, report node.Report, visit func(node.ScrubResult)) (node.ScrubSummary, error) {
	return o.shelf.Scrub(ctx, opt, report, visit)
}

func (o offline) Torrent(_ context.Context, ref string) ([]byte, error) {
	r, err := node.ParseRef(ref)
	if err != nil {
		return nil, err
	}
	b, _, err := o.shelf.Block(r)
	if err != nil {
		return nil, err
	}
	return node.Torrent(b)
}
