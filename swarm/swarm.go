package swarm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"

	"granary/erasure"
)

var (
	// ErrPortInUse reports that another process listens on Config.Port.
	ErrPortInUse = errors.New("torrent port is in use")

	// ErrClosed ends what runs when the swarm is closed or the torrent removed.
	ErrClosed = errors.New("swarm closed")

	// ErrRefused reports pieces that match the piece layers and yet do not
	// belong to the committed codeword: the block's publisher lied, and no
	// peer has better ones.
	ErrRefused = errors.New("piece refused by the store")
)

// Config says how a Swarm meets the network. The zero Config listens on all
// addresses and a free port, and dials public peers only.
type Config struct {
	IP           netip.Addr // listens on and dials from it; zero: all addresses
	Port         int        // 0: any free port
	AllowPrivate bool       // dial loopback, private and link-local peers too

	// Limits of the whole swarm, kept on the sockets: everything counts that
	// goes through them, not only rows.
	UploadRate, DownloadRate int64 // bytes per second; 0: no limit
	MaxConns                 int   // connections; 0: DefaultConns
	MaxDials                 int   // connections being opened at once; 0: DefaultDials

	// Spend, unless it is nil, is told how many bytes are about to be sent and
	// how many were received; what it returns an error for is not sent, and
	// ends the connection. Spend(0, 0) asks whether more may pass. It is called
	// from many goroutines and must be quick.
	Spend func(sent, received int) error

	Sources Sources // where peers are looked for beside AddPeers; zero: nowhere

	Banned []netip.Addr // sent wrong bytes before; banned from the start

	// Corrupt is a fault for devnets: the swarm claims every piece of every
	// block and serves wrong bytes. It fetches none: its fetches wait.
	Corrupt bool

	Logger *slog.Logger // nil: discard
}

// What a home router stands: its table of connections often has 1,024 entries,
// and an unanswered dial stays in it for some 2 minutes. 40 dials that each
// take 10 s to fail are 480 of these, beside 200 connections.
const (
	DefaultConns = 200
	DefaultDials = 40
)

// Swarm is one BitTorrent client serving and fetching any number of blocks.
// It is safe for concurrent use.
type Swarm struct {
	cfg    Config
	log    *slog.Logger
	gate   *gate
	client *torrent.Client
	bans   *bans
	http   *http.Client

	seekers []*seeker      // set by Open, like sources
	sources []func() error // what closes them
	local   *seeker        // among seekers; nil: no local discovery
	heard   heard

	// byHash finds a Torrent by the first 20 bytes of its ID, which is what the
	// engine calls it by. It is read in callbacks, under the engine's lock.
	byHash sync.Map // metainfo.Hash → *Torrent

	serving    sync.Mutex   // held, above the engine's lock, while what follows changes
	silent     atomic.Bool  // see Serve
	exceptions atomic.Int64 // ServeAnyway not yet done

	commits chan struct{} // one slot for each commit under way
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup // the sweep, commits and descriptions

	mu       sync.Mutex // guards what follows, and is held while adding
	closed   bool
	torrents map[erasure.ID]*Torrent
	offered  map[metainfo.Hash]standby // by short hash; see Offer
}

// maxCommits bounds the pieces being committed at once, so that they share
// fsyncs while their memory stays bounded: 32 pieces of at most 512 KiB.
const maxCommits = 32

// Open starts a swarm that listens at once. It returns ErrPortInUse for a port
// that is taken. Close it.
func Open(cfg Config) (*Swarm, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.MaxConns = cmp.Or(cfg.MaxConns, DefaultConns)
	cfg.MaxDials = cmp.Or(cfg.MaxDials, DefaultDials)
	s := &Swarm{
		cfg: cfg, log: cfg.Logger, bans: newBans(cfg.Banned), commits: make(chan struct{}, maxCommits),
		torrents: map[erasure.ID]*Torrent{}, offered: map[metainfo.Hash]standby{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	gate, err := openGate(s.ctx, cfg, s.admits)
	if err != nil {
		s.cancel()
		return nil, err
	}
	s.gate, s.http = gate, newHTTP(gate)
	s.client, err = torrent.NewClient(s.engineConfig())
	if err != nil {
		s.cancel()
		return nil, errors.Join(fmt.Errorf("start torrent engine: %w", err), gate.close())
	}
	s.bans.ask = s.client.BadPeerIPs
	s.client.AddDialer(gate)
	s.client.AddListener(gate)
	s.running.Go(s.sweep)
	if err := s.openSources(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close ends every fetch with ErrClosed, lets pieces being committed finish,
// and closes all connections. No block's bytes are used once it returns. It
// may be called twice.
func (s *Swarm) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	torrents := s.list() // nobody adds or removes from here on
	for _, t := range torrents {
		t.end()
	}

	s.cancel()
	var errs []error
	for _, end := range s.sources {
		errs = append(errs, end())
	}
	errs = append(errs, s.client.Close()...)
	errs = append(errs, s.gate.close())
	s.http.CloseIdleConnections()
	s.running.Wait()
	for _, t := range torrents {
		t.release()
	}
	return errors.Join(errs...)
}

// begin reports whether work may still start; if so, it counts as running
// until done is called.
func (s *Swarm) begin() (done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	s.running.Add(1)
	return s.running.Done, true
}

// list returns the torrents there are.
func (s *Swarm) list() []*Torrent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.torrents))
}

// Port is the TCP port the swarm listens on.
func (s *Swarm) Port() int { return s.gate.port() }

// Connections is the number of connections open, those that still shake hands
// included.
func (s *Swarm) Connections() int { return s.gate.connections() }

// Add serves what b holds to whoever asks, and fetches nothing until told to.
// For an ID that is already there it returns the Torrent there is, with the
// block it was first added with. The bundle is checked.
func (s *Swarm) Add(b Block) (*Torrent, error) {
	bundle := b.Bundle()
	if err := bundle.Check(); err != nil {
		return nil, fmt.Errorf("add block: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.addLocked(bundle, b)
	if err != nil {
		return nil, err
	}
	t.used, t.called = time.Now(), false
	return t, nil
}

// addLocked returns the torrent there is, or a new one. s.mu is held.
func (s *Swarm) addLocked(bundle erasure.Bundle, b Block) (*Torrent, error) {
	if s.closed {
		return nil, ErrClosed
	}
	id := bundle.Info.ID()
	if t, ok := s.torrents[id]; ok {
		return t, nil
	}
	t := newTorrent(s, id, bundle.Info.Geometry(), b)
	s.byHash.Store(shortHash(id), t)
	if err := t.open(bundle); err != nil {
		s.byHash.Delete(shortHash(id))
		return nil, fmt.Errorf("add block %s: %w", id.Short(), err)
	}
	s.torrents[id] = t
	if s.silent.Load() {
		t.handle.DisallowDataUpload()
	}
	return t, nil
}

// Torrent returns the Torrent added for id.
func (s *Swarm) Torrent(id erasure.ID) (*Torrent, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.torrents[id]
	return t, ok
}

// Remove stops serving id, and ends its fetches with ErrClosed. The block's
// stored pieces are not touched, and none of its bytes are used once Remove
// returns. Removing what is not there does nothing.
func (s *Swarm) Remove(id erasure.ID) {
	s.mu.Lock()
	delete(s.offered, shortHash(id))
	t, ok := s.torrents[id]
	if !ok || s.closed {
		s.mu.Unlock()
		return
	}
	s.dropLocked(t)
	s.mu.Unlock()
	t.release()
}

// dropLocked takes t out of the engine; s.mu is held. The caller releases t.
func (s *Swarm) dropLocked(t *Torrent) {
	delete(s.torrents, t.id)
	t.end()
	t.handle.Drop()
	s.byHash.Delete(shortHash(t.id))
}

func shortHash(id erasure.ID) metainfo.Hash { return metainfo.Hash(id[:20]) }
