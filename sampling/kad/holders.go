package kad

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"granary/erasure"
	"granary/sampling"
)

const (
	// maxPerPiece is how many holders a sampler is given for one piece.
	maxPerPiece = 24

	// A test that does not know the holders of a group waits for its lookup
	// until enough are known, for coldWait once there is any, and no longer than
	// a lookup lasts. Having nobody to ask would cost it a whole round. Where no
	// group has enough it waits for coldWait in all.
	coldWait = time.Second
	coldTick = 50 * time.Millisecond // between looks at what other lookups brought

	// maxSearches bounds the lookups of one test at once. A custodian has several
	// groups, so the first few lookups find holders of most.
	maxSearches = 8
)

// Finder lets a sampler reach the network through a Host: it names holders and
// asks them for rows. Each test has one of its own, and closes it.
type Finder struct {
	host  *Host
	extra []peer.ID // may hold any piece
	ctx   context.Context
	stop  context.CancelFunc
	work  sync.WaitGroup // searches

	slots chan struct{} // one for each lookup at once
	small atomic.Bool   // a lookup has ended and found fewer than enough: others will, too

	mu       sync.Mutex // guards searches
	searches map[searchKey]*running
	began    time.Time // guarded by mu: when the first search was asked for
}

var (
	_ sampling.Fetcher = (*Finder)(nil)
	_ sampling.Holders = (*Finder)(nil)
)

// searchKey names a search: for a group, or for a block itself.
type searchKey struct {
	id    erasure.ID // the zero ID in a search for a group
	group int
	round int
}

// running is one search, while it goes on and after.
type running struct {
	stop   context.CancelFunc
	done   chan struct{} // closed when the search has ended
	enough chan struct{} // closed once it has found enough

	mu    sync.Mutex // guards found
	found []peer.ID  // distinct
}

// add adds what was found.
func (r *running) add(p peer.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.found, p) {
		if r.found = append(r.found, p); len(r.found) == warmHolders {
			close(r.enough)
		}
	}
}

// all returns what was found by now.
func (r *running) all() []peer.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.found)
}

// wait returns when there is enough, or known says so, or the search has ended,
// or something was found and it takes its time, or ctx has ended.
func (r *running) wait(ctx context.Context, known func() bool) {
	began := time.Now()
	tick := time.NewTicker(coldTick)
	defer tick.Stop()
	for !known() && (time.Since(began) < coldWait || len(r.all()) == 0) {
		select {
		case <-r.done:
			return
		case <-r.enough:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// NewFinder returns a Finder whose searches end with ctx or Close. The extra
// peers, those that the ledger names, may hold any piece: they are asked after
// those that owe it, so that no few of them see the whole of a sample.
func (h *Host) NewFinder(ctx context.Context, extra []peer.ID) *Finder {
	f := &Finder{host: h, extra: extra, slots: make(chan struct{}, maxSearches), searches: make(map[searchKey]*running)}
	f.ctx, f.stop = context.WithCancel(ctx)
	return f
}

// Close ends the searches that still go on.
func (f *Finder) Close() {
	f.stop()
	f.work.Wait()
}

// Row implements sampling.Fetcher. The holder is a peer ID in binary form.
func (f *Finder) Row(ctx context.Context, holder sampling.Holder, id erasure.ID, row int) ([]byte, []erasure.Root, error) {
	data, path, err := f.host.Row(ctx, peer.ID(holder), id, row)
	for from, to := range map[error]error{
		ErrNotHeld: sampling.ErrNotHeld, ErrBusy: sampling.ErrBusy,
		ErrPending: sampling.ErrPending, ErrProtocol: sampling.ErrProtocol,
	} {
		if errors.Is(err, from) {
			err = fmt.Errorf("%w: %w", to, err)
		}
	}
	return data, path, err
}

// Origin tells where a holder is: holders of one origin may be one person's.
func (f *Finder) Origin(holder sampling.Holder) string {
	from := f.host.origin(peer.ID(holder))
	if !from.IsValid() {
		return ""
	}
	return from.String()
}

// For implements sampling.Holders: custodians of the piece's group and holders
// of the whole block, then the extra peers, then other custodians, who owe the
// pieces of small blocks, and of whom one stands in where nobody owes. In the first round nobody is asked who they are as
// long as the table knows; afterwards they are searched for.
func (f *Finder) For(ctx context.Context, id erasure.ID, piece, round int) []sampling.Holder {
	number := sampling.GroupOf(id, piece)
	group := sampling.GroupSet(1) << number
	owing, warm := f.host.table.holders(group, time.Now(), f.host)
	var blocks []peer.ID
	if round > 0 || !warm {
		whole := f.search(searchKey{id: id, round: round}, func(ctx context.Context, found func(peer.ID)) {
			f.host.blockHolders(ctx, id, func(h Holder) {
				if h.Block {
					found(h.Peer)
				}
			})
		})
		custodians := f.search(searchKey{group: number, round: round}, func(ctx context.Context, found func(peer.ID)) {
			f.host.joined(ctx)
			n := 0
			f.host.lookUpGroup(ctx, number, func(h Holder) { found(h.Peer); n++ })
			if n > 0 && n < warmHolders && ctx.Err() == nil {
				f.small.Store(true)
			}
		})
		began := f.begin(time.Now())
		custodians.wait(ctx, func() bool {
			// A custodian has several groups: other lookups may have found enough, or as
			// many as there are.
			owing, warm = f.host.table.holders(group, time.Now(), f.host)
			return round == 0 && (warm || len(owing) > 0 && f.small.Load() && time.Since(began) >= coldWait)
		})
		if round == 0 && (warm || len(custodians.all()) >= warmHolders) {
			custodians.stop() // other lookups wait for the same few peers
		}
		owing, _ = f.host.table.holders(group, time.Now(), f.host)
		owing, blocks = append(owing, custodians.all()...), whole.all()
	}
	var others []peer.ID
	if len(owing)+len(f.extra)+len(blocks) < maxPerPiece {
		others, _ = f.host.table.holders(sampling.AllGroups, time.Now(), f.host)
		if len(owing) == 0 { // somebody may stand in for its custodians
			slices.SortStableFunc(others, func(a, b peer.ID) int {
				return sampling.StandInOrder(f.host.cfg.Chain, number, []byte(a), []byte(b))
			})
		}
	}
	var all []sampling.Holder
	seen := map[peer.ID]bool{f.host.ID(): true}
	for _, peers := range [][]peer.ID{owing, shuffled(blocks), shuffled(f.extra), others} {
		for _, p := range peers {
			if !seen[p] && len(all) < maxPerPiece {
				seen[p] = true
				all = append(all, sampling.Holder(p))
			}
		}
	}
	return all
}

// begin returns when the first search was asked for, which is now if none was.
func (f *Finder) begin(now time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.began.IsZero() {
		f.began = now
	}
	return f.began
}

func shuffled(peers []peer.ID) []peer.ID {
	peers = slices.Clone(peers)
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	return peers
}

// search returns the search with this key, which it starts if it is the first
// to ask.
func (f *Finder) search(key searchKey, look func(ctx context.Context, found func(peer.ID))) *running {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.searches[key]; r != nil {
		return r
	}
	ctx, stop := context.WithCancel(f.ctx)
	r := &running{stop: stop, done: make(chan struct{}), enough: make(chan struct{})}
	f.searches[key] = r
	f.work.Go(func() {
		defer close(r.done)
		defer stop()
		select {
		case f.slots <- struct{}{}:
			defer func() { <-f.slots }()
			look(ctx, r.add)
		case <-ctx.Done():
		}
	})
	return r
}

// origin is the part of the network that p is in: the /24 of its IPv4 address
// or the /48 of its IPv6 address, which is what one customer may have. It is
// the zero Prefix while no address is known.
func (h *Host) origin(p peer.ID) netip.Prefix {
	var addrs []ma.Multiaddr
	if conns := h.host.Network().ConnsToPeer(p); len(conns) > 0 {
		addrs = []ma.Multiaddr{conns[0].RemoteMultiaddr()} // a fact, the others are claims
	} else if addrs = h.table.addrs(p); len(addrs) == 0 {
		addrs = h.host.Peerstore().Addrs(p)
	}
	for _, a := range addrs {
		ip := ipOf(a)
		if !ip.IsValid() {
			continue
		}
		bits := 24
		if ip.Is6() {
			bits = 48
		}
		prefix, err := ip.Prefix(bits)
		if err == nil {
			return prefix
		}
	}
	return netip.Prefix{}
}

// dialled reports whether we are connected to p by a dial of ours. Who has
// dialled us may have done so to be asked.
func (h *Host) dialled(p peer.ID) bool {
	return slices.ContainsFunc(h.host.Network().ConnsToPeer(p), func(c network.Conn) bool {
		return c.Stat().Direction == network.DirOutbound && !c.Stat().Limited
	})
}

// Holders returns the custodians that the node remembers, for Config.Holders
// after a restart.
func (h *Host) Holders() []byte { return h.table.encode() }

// StandIns returns the groups that this node is to keep beside its own, because
// nobody who answers owes them: see sampling.StandIns. known is false until
// all groups were looked up, in half an hour or so.
func (h *Host) StandIns() (groups sampling.GroupSet, known bool) {
	others, known := h.table.present(standInWithin, time.Now())
	if !known || !h.cfg.Custodian {
		return 0, false
	}
	return sampling.StandIns(h.cfg.Chain, []byte(h.host.ID()), others, h.cfg.CustodyCount), true
}

// KnownHolders is how many custodians the node remembers, and how many of them
// have answered it.
func (h *Host) KnownHolders() (all, heard int) { return h.table.sizes() }

const (
	// refreshPause is the time between lookups in the background: one group
	// each, so all of them in half an hour.
	refreshPause = 30 * time.Second

	// standInWithin is how long ago each group was looked up at most where it is
	// known who owes none: two rounds of these lookups.
	standInWithin = 2 * sampling.Groups * refreshPause

	// greetPause is the time between looks for peers that were not greeted yet.
	greetPause = 2 * time.Second
)

// refresh keeps the table of holders fresh until ctx ends: it looks up the
// group that was looked up longest ago, asks the holder that was silent longest
// whether it is there, and says hello to peers that have connected.
func (h *Host) refresh(ctx context.Context) {
	lookups, greetings := time.NewTicker(refreshPause), time.NewTicker(greetPause)
	defer lookups.Stop()
	defer greetings.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-greetings.C:
			h.greetNew(ctx)
		case <-lookups.C:
			h.lookUpGroup(ctx, h.table.stalest(), func(Holder) {})
			if p := h.table.unheard(time.Now()); p != "" {
				_, _ = h.Hello(ctx, p, erasure.ID{}) // the table learns of it
			}
		}
	}
}

// greetNew says hello to one connected peer that has not been greeted, while
// few have been.
func (h *Host) greetNew(ctx context.Context) {
	h.mu.Lock()
	greeted := len(h.notes)
	h.mu.Unlock()
	if greeted >= maxGreeted {
		return
	}
	for _, p := range h.host.Network().Peers() {
		if !h.speaksHello(p) {
			continue
		}
		h.mu.Lock()
		_, known := h.notes[p]
		h.mu.Unlock()
		if !known {
			h.remember(p, func(*note) {}) // whether it answers or not
			_, _ = h.Hello(ctx, p, erasure.ID{})
			return
		}
	}
}

// speaksHello reports whether p told us, when connecting, that it is one of
// ours.
func (h *Host) speaksHello(p peer.ID) bool {
	known, err := h.host.Peerstore().SupportsProtocols(p, helloService.id())
	return err == nil && len(known) > 0
}

// loadHolders fills the table from Config.Holders.
func (h *Host) loadHolders() {
	if len(h.cfg.Holders) == 0 {
		return
	}
	if err := h.table.decode(h.cfg.Holders, time.Now()); err != nil {
		h.log.Warn("holders known before are forgotten", "err", err)
	}
}
