package kad

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	mh "github.com/multiformats/go-multihash"
	"golang.org/x/sync/errgroup"

	"granary/erasure"
	"granary/sampling"
)

const (
	// lookupTimeout bounds one DHT lookup, and searchTimeout those of all groups
	// together; what was found until then counts.
	lookupTimeout = 5 * time.Second
	searchTimeout = 6 * time.Second

	// lookups and greetings in flight at once.
	maxLookups   = 8
	maxGreetings = 16

	// maxGreeted bounds the connected peers that one search says hello to.
	maxGreeted = 64

	// maxAhead holders can be found before the reader must take one: a slow
	// reader is not to stop the clock-bound lookups.
	maxAhead = 1024
)

// ErrNoPeers reports that the node is connected to nobody.
var ErrNoPeers = errors.New("no peers")

// Holder is a peer that should hold pieces. Say Hello to learn which.
type Holder struct {
	Peer   peer.ID
	Groups sampling.GroupSet // recomputed from its ID; 0 for one not known to be a custodian
	Block  bool              // it stands under the block's own key, or says that it knows the block
}

// FindHolders looks for peers that should hold pieces of a block: those under
// the block key and the connected ones first, then the custodians of every
// group. A node that is just joining waits for its first peer, a few seconds. Each is sent once, with what was known of it by then; the node itself
// never is. The channel is closed when the lookups have ended, each within
// seconds, or ctx has; cancel ctx to stop reading early.
func (h *Host) FindHolders(ctx context.Context, id erasure.ID) <-chan Holder {
	out := make(chan Holder, maxAhead)
	ctx, cancel := h.within(ctx)
	started := h.start(func() {
		defer close(out)
		defer cancel()
		s := search{seen: map[peer.ID]bool{h.host.ID(): true}, out: out}
		found := func(holder Holder) { s.found(ctx, holder) }
		h.blockHolders(ctx, id, found)
		h.custodians(ctx, found)
	})
	if !started {
		cancel()
		close(out)
	}
	return out
}

// blockHolders calls found, concurrently, for the peers under the block's own
// key, and for connected ones that know the block or are custodians.
func (h *Host) blockHolders(ctx context.Context, id erasure.ID, found func(Holder)) {
	h.joined(ctx)
	var both sync.WaitGroup
	both.Go(func() {
		for p := range h.providers(ctx, blockKey(h.cfg.Chain, id)) {
			found(Holder{Peer: p, Block: true})
		}
	})
	both.Go(func() { h.greet(ctx, id, found) })
	both.Wait()
}

// search sends every holder once.
type search struct {
	mu   sync.Mutex // guards seen
	seen map[peer.ID]bool
	out  chan<- Holder
}

func (s *search) found(ctx context.Context, holder Holder) {
	s.mu.Lock()
	again := s.seen[holder.Peer]
	s.seen[holder.Peer] = true
	s.mu.Unlock()
	if again {
		return
	}
	select {
	case s.out <- holder:
	case <-ctx.Done():
	}
}

// Custodians looks up all group keys and returns the peers, the node itself
// excepted, that stand under a key of a group that is theirs, sorted by ID. It
// returns ErrNoPeers if the node is connected to nobody, and what it found so
// far with the context's error if ctx ends.
func (h *Host) Custodians(ctx context.Context) ([]Holder, error) {
	if !h.enter() {
		return nil, ErrClosed
	}
	defer h.work.Done()
	ctx, cancel := h.within(ctx)
	defer cancel()
	h.joined(ctx)
	if len(h.host.Network().Peers()) == 0 {
		return nil, ErrNoPeers
	}
	var (
		mu     sync.Mutex // guards byPeer
		byPeer = make(map[peer.ID]Holder)
	)
	var greeting sync.WaitGroup
	greeting.Go(func() { h.greet(ctx, erasure.ID{}, func(Holder) {}) }) // disconnects the dead
	h.custodians(ctx, func(holder Holder) {
		mu.Lock()
		defer mu.Unlock()
		byPeer[holder.Peer] = holder
	})
	greeting.Wait()
	delete(byPeer, h.host.ID())
	holders := make([]Holder, 0, len(byPeer))
	for _, holder := range byPeer {
		holders = append(holders, holder)
	}
	slices.SortFunc(holders, func(a, b Holder) int {
		return slices.Compare([]byte(a.Peer), []byte(b.Peer))
	})
	return holders, ctx.Err()
}

// custodians looks up the keys of all groups and calls found, concurrently and
// more than once for a peer, for each claim that the rule confirms.
func (h *Host) custodians(ctx context.Context, found func(Holder)) {
	ctx, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(maxLookups)
	for group := range sampling.Groups {
		g.Go(func() error {
			h.lookUpGroup(ctx, group, found)
			return nil
		})
	}
	_ = g.Wait()
}

// lookUpGroup looks up the key of one group and calls found for each claim that
// the rule confirms. The table learns of them.
func (h *Host) lookUpGroup(ctx context.Context, group int, found func(Holder)) {
	n := 0
	for p := range h.providers(ctx, groupKey(h.cfg.Chain, group)) {
		if groups := h.groupsOf(p); groups.Has(group) {
			n++
			h.table.addNamed(p, h.host.Peerstore().Addrs(p), time.Now())
			found(Holder{Peer: p, Groups: groups})
		}
	}
	// That nobody was found says something only where somebody was asked.
	if n > 0 || ctx.Err() == nil && len(h.host.Network().Peers()) > 0 {
		h.table.lookedUp(group, time.Now())
	}
}

// providers yields the peers found under a DHT key within lookupTimeout. Their
// addresses are left in the peerstore.
func (h *Host) providers(ctx context.Context, key mh.Multihash) func(yield func(peer.ID) bool) {
	return func(yield func(peer.ID) bool) {
		ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
		results := h.dht.FindProvidersAsync(ctx, keyCID(key), 0)
		defer func() {
			cancel()
			for range results { // the lookup ends when it is read to its end
			}
		}()
		for info := range results {
			if ctx.Err() != nil || !yield(info.ID) {
				return
			}
		}
	}
}

// greet says hello to connected peers and calls found, concurrently, for those
// that know the block or are custodians. Those that are dead it disconnects,
// which frees the lookups that wait for them.
func (h *Host) greet(ctx context.Context, id erasure.ID, found func(Holder)) {
	var g errgroup.Group
	g.SetLimit(maxGreetings)
	greeted := 0
	for _, p := range h.host.Network().Peers() {
		if !h.speaksHello(p) {
			continue
		}
		if greeted++; greeted > maxGreeted {
			break
		}
		g.Go(func() error {
			hello, err := h.Hello(ctx, p, id)
			if err == nil && (hello.Known || hello.Custodian) {
				found(Holder{Peer: p, Groups: hello.Groups, Block: hello.Known})
			}
			return nil
		})
	}
	_ = g.Wait()
}
