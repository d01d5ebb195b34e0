package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/blobstore"
	"granary/cmd/granary/internal/bans"
	"granary/cmd/granary/internal/deny"
	"granary/cmd/granary/internal/gather"
	"granary/cmd/granary/internal/journal"
	"granary/cmd/granary/internal/traffic"
	"granary/erasure"
	"granary/ledger"
	"granary/ledger/chain"
	"granary/ledger/light"
	"granary/sampling/kad"
	"granary/swarm"
)

// Config is what a node is made of. Dir, Genesis and Identity are required; the
// zero value of the rest works.
type Config struct {
	Dir        string // the home: blocks, index, and what is kept of the ledger
	Genesis    ledger.Genesis
	Checkpoint *light.Checkpoint                    // a header to trust; nil: trust follows from the genesis
	Identity   ed25519.PrivateKey                   // libp2p identity, also on the consensus port
	Publisher  ed25519.PrivateKey                   // signs announcements; nil: the node does not publish
	Validator  *Validator                           // nil: the node runs no chain
	AttestKeys func() ([]ed25519.PrivateKey, error) // of a validator, that in use first; nil: the node neither attests nor votes
	Bootstrap  []string
	Custodian  bool // keep our own share of what is announced
	Guest      bool // a one-shot command: DHT client, serves while it runs
	Devnet     bool

	IP           netip.Addr // zero: every address
	Port         int        // libp2p; 0: any free one
	TorrentPort  int        // BitTorrent; 0: any free one
	Quota        int64      // bytes on disk; 0: no limit
	Relay        bool       // introduce nodes that cannot be dialled to others
	UploadRate   int64      // bytes per second; 0: no limit
	DownloadRate int64      // bytes per second; 0: no limit
	Volume       int64      // torrent bytes per calendar month, both directions; 0: no limit
	Hours        Hours      // when to work for others; nil: always
	Connections  int        // of torrents; 0: swarm.DefaultConns
	Dials        int        // torrent connections being opened at once; 0: swarm.DefaultDials

	DropParity bool // of blocks that nothing is owed of; it is computed when asked for. Not of validators

	WebSeeds []string // URLs of folders with content of blocks; see gather.CheckWebSeed
	Sources  Sources  // where torrents look for peers beside our own network; zero: nowhere

	ScrubEvery time.Duration // how often each block is checked on the disk; 0: only when asked

	Faults Faults // devnets only
	Logger *slog.Logger
}

// Faults make a node misbehave, to show that others cope. They are accepted
// only on a devnet.
type Faults struct {
	Corrupt bool // claim every piece of every block and serve wrong bytes
}

// Files of the home that other packages read and write.
const (
	trafficFile = "traffic.json"
	bansFile    = "bans.json"
	denyFile    = "deny"
)

// maxNumber bounds a file of the home that is one number.
const maxNumber = 64

// Node is one running node. Its methods may be called by any number of
// goroutines.
type Node struct {
	*Shelf
	cfg     Config
	log     *slog.Logger
	swarm   *swarm.Swarm
	traffic *traffic.Meter
	bans    *bans.List
	host    *kad.Host
	chain   *chain.Chain  // of a validator; nil otherwise
	light   *light.Client // through which the ledger is read
	tests   *journal.Journal
	sampled sampled
	news    chan struct{} // the ledger may have moved

	ctx  context.Context // ends at Close; background work hangs on it
	stop context.CancelFunc
	work sync.WaitGroup

	mu       sync.Mutex
	waiting  []task                 // guarded by mu: blocks to be taken up, oldest first
	pending  map[erasure.ID]pending // guarded by mu: blocks that are being taken up
	later    []task                 // guarded by mu: blocks whose work failed, to be tried again
	ledger   LedgerStatus           // guarded by mu: what the last look at the ledger gave
	own      []byte                 // guarded by mu: the light block of our own chain that we announce
	closed   bool                   // guarded by mu: no new background work
	abstains string                 // guarded by mu: why this validator cannot attest; empty: it can
	met      struct {               // guarded by mu: the validators, as of a size of the log and a time
		set    []ledger.Validator
		former []ledger.Validator // who left lately
		size   uint64
		at     time.Time
	}

	answering []peer.ID                // guarded by mu: who stands in the DHT as answering for the ledger
	fetching  map[erasure.ID]int       // guarded by mu: blocks that somebody is at, which are not dropped
	postponed map[erasure.ID]time.Time // guarded by mu: until when damaged blocks are not scrubbed again
	idleErr   error                    // guarded by mu: of the last look
	idle      string                   // guarded by mu: why the node does not work for others; "": it does
	anyway    map[erasure.ID]int       // guarded by mu: blocks served even so, and how often that was asked

	deny *deny.File // what this home keeps out

	lend        chan struct{}      // what is lent was changed
	stopLending context.CancelFunc // guarded by mu: ends the round under way, if any

	parity *onDemand // nil: parity is kept

	naming    sync.Mutex // held while the light client is told whom to ask
	switching sync.Mutex // held while working for others is switched

	dropping sync.Mutex // held while room is made
	holding  sync.Mutex // held, within dropping, while it is decided who has a block: a holder, or who drops it
	coding   sync.Mutex // held while a block that we keep for others is decoded

	rebuilding chan struct{} // has a place for one: who fetches a block to rebuild pieces that nobody serves
	watching   sync.Mutex    // held while Watch runs
}

// Open starts a node: store, swarm, network, ledger, then the work that was
// left undone when it last stopped. Close ends it.
func Open(ctx context.Context, cfg Config) (_ *Node, err error) {
	for _, base := range cfg.WebSeeds {
		if err := gather.CheckWebSeed(base); err != nil {
			return nil, err
		}
	}
	if cfg.Faults != (Faults{}) && !cfg.Devnet {
		return nil, errors.New("faults are accepted only with a devnet's network file")
	}
	n := &Node{cfg: cfg, log: cfg.Logger, pending: map[erasure.ID]pending{}, anyway: map[erasure.ID]int{}, lend: make(chan struct{}, 1), rebuilding: make(chan struct{}, 1), postponed: map[erasure.ID]time.Time{}, fetching: map[erasure.ID]int{}, news: make(chan struct{}, 1)}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	n.ctx, n.stop = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()

	store, err := blobstore.Open(ctx, cfg.Dir, blobstore.Config{
		Quota: cfg.Quota, Logger: n.log,
		Room: func(ctx context.Context, bytes int64) error { return n.makeRoom(ctx, bytes, erasure.ID{}) },
	})
	if err != nil {
		return nil, err
	}
	n.Shelf = NewShelf(store, 0)
	n.passing = cfg.Guest
	if n.tests, err = journal.Open(JournalDir(cfg.Dir)); err != nil {
		return nil, err
	}
	n.traffic, err = traffic.Open(filepath.Join(cfg.Dir, trafficFile), cfg.Volume, time.Now)
	if err != nil {
		return nil, err
	}
	n.bans, err = bans.Open(filepath.Join(cfg.Dir, bansFile), time.Now())
	if err != nil {
		n.log.Warn("bans of before are forgotten", "err", err)
	}
	if n.deny, err = deny.Open(filepath.Join(cfg.Dir, denyFile)); err != nil {
		return nil, err
	}
	n.swarm, err = swarm.Open(swarm.Config{
		IP: cfg.IP, Port: cfg.TorrentPort, AllowPrivate: cfg.Devnet,
		UploadRate: torrentShare(cfg.UploadRate), DownloadRate: cfg.DownloadRate,
		MaxConns: cfg.Connections, MaxDials: cfg.Dials, Spend: n.traffic.Spend,
		Sources: cfg.Sources,
		Banned:  n.bans.Addresses(),
		Corrupt: cfg.Faults.Corrupt, Logger: n.log,
	})
	if err != nil {
		return nil, err
	}
	if cfg.DropParity && !cfg.Guest && cfg.Validator == nil {
		n.parity = newOnDemand(n.ctx, &n.coding, n.log)
		n.parity.bound = n.boundParity
	}
	n.idle, n.idleErr = n.whyIdle()
	n.swarm.Serve(n.idle == "")
	n.host, err = kad.Open(ctx, kad.Config{
		Chain: cfg.Genesis.ChainID, Key: cfg.Identity, IP: cfg.IP, Port: cfg.Port,
		Bootstrap: cfg.Bootstrap, Devnet: cfg.Devnet, Client: cfg.Guest,
		CustodyCount: cfg.Genesis.Params.Custody, Custodian: cfg.Custodian, Hidden: n.idle != "",
		TorrentPort: n.swarm.Port(), Holders: n.loadHolders(), Relay: cfg.Relay, ServeRate: sampleShare(cfg.UploadRate), Logger: n.log,
	}, source{n})
	if err != nil {
		return nil, err
	}
	if cfg.Custodian {
		n.groups = n.host.Groups()
		n.loadStandIns()
	}
	if err := n.openLedger(ctx); err != nil {
		return nil, err
	}
	if err := n.host.OnAnnounce(n.judgeHead, n.heardHead); err != nil {
		return nil, err
	}
	return n, n.resume()
}

// sampleShare is the part of an upload limit, in bytes per second, that is kept
// for those who sample and read the ledger; torrents have the rest.
// Neither part of a limit is 0, which would be none.
func sampleShare(upload int64) int64 { return min(upload, max(upload*3/10, 1)) }

func torrentShare(upload int64) int64 { return min(upload, max(upload-sampleShare(upload), 1)) }

// resume seeds what the store holds, takes up unfinished custody, and begins
// to follow the ledger.
func (n *Node) resume() error {
	for _, b := range n.store.Blocks() {
		if err := n.seed(b); err != nil {
			return err
		}
		if n.cfg.Custodian && b.Note(noteIndex) != nil && !n.denies(b) {
			n.keepShare(b)
		}
	}
	if n.chain != nil {
		if err := n.takeUpPending(); err != nil {
			return err
		}
		n.background(n.proclaim)
		n.background(n.offerChain)
	} else {
		n.background(n.findProviders)
	}
	n.background(n.follow)
	if !n.cfg.Guest {
		n.background(n.tend)
	}
	if n.parity != nil {
		n.background(n.dropParity)
		n.background(func(context.Context) { n.parity.work() })
	}
	n.background(n.watchClock)
	n.background(n.watchDenied)
	if n.cfg.Custodian {
		n.background(n.standIn)
		n.background(n.lendDisk)
	}
	n.background(n.keepHolders)
	return nil
}

// seed serves what b holds, unless it is denied, and names us in the DHT as a holder of whole
// blocks, unless we are here only for one command.
func (n *Node) seed(b *blobstore.Block) error {
	if n.denies(b) {
		n.stopServing(b.ID())
		return nil
	}
	if n.parity != nil {
		n.parity.serve(b.ID())
	}
	n.swarm.Offer(b.ID(), n.face(b))
	n.provide(b)
	return nil
}

// background runs f until it returns; Close cancels its context and waits.
func (n *Node) background(f func(context.Context)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.work.Go(func() { f(n.ctx) })
}

// Close ends all work, leaves the network and closes the store. It may be
// called twice.
func (n *Node) Close() error {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.stop()
	var errs []error
	// The host goes first: its handlers read the store and start work.
	if n.host != nil {
		errs = append(errs, n.host.Close())
	}
	n.work.Wait()
	if n.chain != nil {
		errs = append(errs, n.chain.Close())
	}
	if n.swarm != nil {
		errs = append(errs, n.swarm.Close())
	}
	if n.traffic != nil {
		errs = append(errs, n.traffic.Close())
	}
	if n.Shelf != nil {
		errs = append(errs, n.store.Close())
	}
	return errors.Join(errs...)
}

// Remove stops serving a block and deletes its bytes.
func (n *Node) Remove(ctx context.Context, id erasure.ID) error {
	n.stopServing(id)
	return n.Delete(ctx, id)
}

// stopServing lets nobody have a block any more, nor wait for its parity.
func (n *Node) stopServing(id erasure.ID) {
	if n.parity != nil {
		n.parity.sendAway(id) // before swarm.Remove, which waits for reads
	}
	n.swarm.Remove(id)
	n.host.StopProvidingBlock(id)
}
