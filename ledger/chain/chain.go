package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/mempool"
	"github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/proxy"
	sm "github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/types"
	"go.etcd.io/bbolt"

	"granary/ledger"
)

// What callers branch on.
var (
	// ErrPortInUse reports that the consensus port is taken.
	ErrPortInUse = errors.New("consensus port is in use")

	// ErrHalted reports a node that gave up: its disk failed, or its state is not
	// what the chain says. It wraps the reason.
	ErrHalted = errors.New("the chain has halted")

	// ErrClosed reports a chain that was closed.
	ErrClosed = errors.New("the chain is closed")
)

// Chain is a running node of the ledger. All methods may be called by any number
// of goroutines.
type Chain struct {
	cfg    Config
	port   int
	logger *slog.Logger

	db     *bbolt.DB
	node   *node.Node
	stores *stores
	states validatorSets
	peers  *historians
	clock  clock

	commits *signal
	leave   func() // ends a signer; nil: we sign ourselves
	stop    context.CancelFunc
	done    sync.WaitGroup
	close   func() error

	mu     sync.Mutex
	halted error // guarded by mu: why the node gave up
}

// Open starts a node of the chain over what is in cfg.Dir, which it creates if
// need be. It returns when the node listens; catching up goes on behind. ctx
// bounds the wait for the genesis' time, and the replay of heights that the state
// lacks. Besides configuration errors
// it returns ErrPortInUse, ErrLocked or ErrGenesis.
func Open(ctx context.Context, cfg Config) (*Chain, error) {
	c, err := prepare(cfg)
	if err != nil {
		return nil, fmt.Errorf("open chain: %w", err)
	}
	if err := c.start(ctx); err != nil {
		return nil, fmt.Errorf("open chain: %w", errors.Join(err, c.Close()))
	}
	return c, nil
}

// prepare opens what is in cfg.Dir.
func prepare(cfg Config) (*Chain, error) {
	if err := checkConfig(cfg); err != nil {
		return nil, err
	}
	port, err := freePort(cfg.IP, cfg.Port)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "data"), 0o700); err != nil {
		return nil, err
	}
	c := &Chain{
		cfg: cfg, port: port,
		logger:  cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)),
		stores:  &stores{},
		commits: newSignal(),
	}
	if c.cfg.Now == nil {
		c.cfg.Now = time.Now
	}
	c.close = sync.OnceValue(c.shut)
	c.db, err = openStore(filepath.Join(cfg.Dir, "state.db"), cfg.Genesis)
	return c, err
}

// start runs the engine over the open state.
func (c *Chain) start(ctx context.Context) (err error) {
	// The engine panics if its stores and the state cannot be brought together.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrHalted, p)
		}
	}()
	signer, err := c.signer(ctx)
	if err != nil {
		return err
	}
	if err := c.assemble(ctx, c.application(), signer); err != nil {
		return err
	}
	return c.run()
}

// signer returns who signs for this node.
func (c *Chain) signer(ctx context.Context) (types.PrivValidator, error) {
	if c.cfg.Signer == nil {
		return openSigner(c.cfg)
	}
	s, err := c.awaitSigner(ctx)
	if err == nil {
		c.leave = s.end
	}
	return s, err
}

func (c *Chain) application() *app {
	c.stores.app = &app{db: c.db, commits: c.commits, halted: c.halt, decided: c.decided}
	return c.stores.app
}

// assemble makes the engine of what decides and what signs.
func (c *Chain) assemble(ctx context.Context, a abci.Application, signer types.PrivValidator) error {
	if err := begun(ctx, c.cfg.Genesis.Time, c.cfg.Now()); err != nil {
		return err
	}
	conf := engineConfig(c.cfg, c.port)
	nodeKey := &p2p.NodeKey{PrivKey: cmted25519.PrivKey(c.cfg.NodeKey)}
	doc := GenesisDoc(c.cfg.Genesis)
	var err error
	c.node, err = node.NewNodeWithContext(ctx, conf, signer, nodeKey,
		proxy.NewLocalClientCreator(a),
		func() (*types.GenesisDoc, error) { return doc, nil },
		c.stores.open,
		node.DefaultMetricsProvider(conf.Instrumentation),
		logger{c.logger, c.halt})
	if err != nil {
		return err
	}
	// A node that catches up would drop the transactions that it hears, and nobody
	// sends them twice: after a common start, one would wait until the only node
	// that has it may propose.
	if pool, ok := c.node.MempoolReactor().(*mempool.Reactor); ok {
		pool.EnableInOutTxs()
	}
	sets, ok := sm.NewStore(c.stores.state, sm.StoreOptions{DiscardABCIResponses: true}).(validatorSets)
	if !ok {
		return errors.New("the engine's store of validator sets is another than we know")
	}
	c.states = sets
	c.peers, err = listen(c.node.Switch())
	return err
}

// run starts the engine.
func (c *Chain) run() error {
	peers, err := parsePeers(c.cfg.Peers)
	if err != nil {
		return err
	}
	if err := c.node.Start(); err != nil {
		return portError(err)
	}
	var dialling context.Context
	dialling, c.stop = context.WithCancel(context.Background())
	self := c.node.NodeInfo().ID()
	c.done.Go(func() { stayConnected(dialling, c.node.Switch(), self, peers) })
	return nil
}

// Close stops the node and waits for it. What was committed is on disk.
func (c *Chain) Close() error { return c.close() }

func (c *Chain) shut() error {
	if c.stop != nil {
		c.stop()
	}
	if c.node != nil {
		if c.node.Stop() == nil {
			c.node.Wait()
		} else {
			_ = c.node.EventBus().Stop() // runs since it was made
		}
		_ = c.node.ProxyApp().Stop() // which the engine forgets
	}
	if c.leave != nil {
		c.leave()
	}
	c.done.Wait()
	err := c.stores.close()
	c.mu.Lock()
	c.halted = cmp.Or(c.halted, ErrClosed)
	c.mu.Unlock()
	c.commits.raise()
	return errors.Join(err, c.db.Close())
}

// halt notes why the node gave up, and tells who waits for it.
func (c *Chain) halt(reason error) {
	c.mu.Lock()
	c.halted = cmp.Or(c.halted, fmt.Errorf("%w: %w", ErrHalted, reason))
	c.mu.Unlock()
	c.commits.raise()
}

// Err returns nil while the node takes part, then ErrHalted or ErrClosed.
func (c *Chain) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.halted
}

// PeerAddress returns what other nodes put into Config.Peers: id@ip:port. A node
// that listens on all addresses has the zero address there.
func (c *Chain) PeerAddress() string {
	ip := c.cfg.IP
	if !ip.IsValid() {
		ip = netip.IPv4Unspecified()
	}
	return NodeID(ledger.KeyOf(c.cfg.NodeKey)) + "@" + netip.AddrPortFrom(ip.Unmap(), uint16(c.port)).String()
}

// begun waits until the network begins: the engine would too, and heed no ctx.
func begun(ctx context.Context, genesis, now time.Time) error {
	wait := time.NewTimer(genesis.Sub(now))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the network begins at %s: %w", genesis, ctx.Err())
	}
}

// freePort returns port if it can be listened on, or any free one for 0. Another
// process may take it before the engine does, which then says so.
func freePort(ip netip.Addr, port int) (int, error) {
	host := ""
	if ip.IsValid() {
		host = ip.Unmap().String()
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return 0, portError(err)
	}
	port = l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

func portError(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: %w", ErrPortInUse, err)
	}
	return err
}
