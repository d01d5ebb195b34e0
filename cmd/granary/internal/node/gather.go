package node

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/blobstore"
	"granary/erasure"
	"granary/sampling/kad"
	"granary/swarm"
)

const (
	// gatherAfter is how long BitTorrent is given to connect to enough peers
	// before single rows are asked for.
	gatherAfter = 3 * time.Second

	gatherEvery   = 250 * time.Millisecond
	gatherAtOnce  = 16  // rows asked for at a time
	gatherPerPeer = 4   // of them of one holder
	gatherHolders = 128 // remembered
	rowPatience   = 10 * time.Second
	busyPause     = 2 * time.Second
)

// errEnough ends a download: any k rows are here.
var errEnough = errors.New("enough rows are here")

// gather asks holders for single rows, over libp2p, of pieces that the swarm
// cannot give: their holder has no torrent port that we reach, or lost some of
// the piece. Any k rows make the block, however they are scattered.
type gather struct {
	block *blobstore.Block
	row   func(context.Context, peer.ID, int) ([]byte, []erasure.Root, error)
	after time.Duration // BitTorrent's head start

	mu      sync.Mutex
	holders map[peer.ID]*rowHolder // guarded by mu
	liars   map[peer.ID]bool       // guarded by mu: sent what is not the row
	read    int64                  // guarded by mu: bytes of rows that came
}

// rowHolder is a node that says it holds pieces.
type rowHolder struct {
	has   erasure.PieceSet
	lacks map[int]bool // rows it did not have after all
	after time.Time    // not to be asked before
	from  netip.Prefix // its network, as crowded knows them; zero: not known
}

func newGather(b *blobstore.Block, row func(context.Context, peer.ID, int) ([]byte, []erasure.Root, error)) *gather {
	return &gather{block: b, row: row, after: gatherAfter, holders: map[peer.ID]*rowHolder{}, liars: map[peer.ID]bool{}}
}

// heard notes what a holder says it has.
func (g *gather) heard(p peer.ID, hello kad.Hello) {
	has, err := erasure.ParsePieceSet(g.block.Geometry().Pieces(), hello.Held)
	if err != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if h := g.holders[p]; h != nil {
		h.has = has
		return
	}
	if g.liars[p] {
		return
	}
	g.holders[p] = &rowHolder{has: has, lacks: map[int]bool{}, from: network(hello.Torrent.Addr())}
	if len(g.holders) > gatherHolders {
		delete(g.holders, g.crowded())
	}
}

// network is the part of the internet that one owner may have all of: the /24
// of an IPv4 address, the /48 of an IPv6 one.
func network(ip netip.Addr) netip.Prefix {
	bits := 24
	if ip = ip.Unmap(); ip.Is6() {
		bits = 48
	}
	p, _ := ip.Prefix(bits) // zero for the zero address
	return p
}

// crowded is a holder, at random, of the network that has the most of them:
// peer IDs are free, so that whoever wants can be the first hundred to come, but
// networks are not. g.mu is held.
func (g *gather) crowded() peer.ID {
	of := map[netip.Prefix][]peer.ID{}
	most := 0
	for p, h := range g.holders {
		of[h.from] = append(of[h.from], p)
		most = max(most, len(of[h.from]))
	}
	var all []peer.ID
	for _, list := range of {
		if len(list) == most {
			all = append(all, list...)
		}
	}
	return all[rand.IntN(len(all))]
}

// run gathers rows while those at hand and those that swarm offers are too few,
// until k are at hand: then it returns nil. offered is called now and then.
func (g *gather) run(ctx context.Context, offered func() swarm.Status) error {
	tick := time.NewTicker(gatherEvery)
	defer tick.Stop()
	began := time.Now()
	for {
		if g.block.RowsAtHand() >= g.block.Geometry().K() {
			return nil
		}
		if time.Since(began) >= g.after {
			if asks := g.choose(offered()); len(asks) > 0 {
				g.ask(ctx, asks)
				if ctx.Err() == nil {
					continue
				}
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// rowAsk is a row to be asked of a holder.
type rowAsk struct {
	row  int
	from *rowHolder
	peer peer.ID
}

// choose picks rows to ask for next: none while the swarm has enough.
func (g *gather) choose(st swarm.Status) []rowAsk {
	geo, held := g.block.Geometry(), g.block.Held()
	reach := reachable(held, st)
	if geo.RowsIn(reach) >= geo.K() {
		return nil
	}
	need := min(geo.K()-g.block.RowsAtHand(), gatherAtOnce)
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	var asks []rowAsk
	load := map[*rowHolder]int{}
	for p := range geo.Pieces() {
		if reach.Has(p) {
			continue
		}
		first, count := geo.PieceSpan(p)
		for row := first; row < first+count && len(asks) < need; row++ {
			if g.block.HasRow(row) {
				continue
			}
			ask := rowAsk{row: row}
			for id, h := range g.holders {
				if g.liars[id] || h.lacks[row] || now.Before(h.after) || !h.has.Has(p) || load[h] >= gatherPerPeer {
					continue
				}
				if ask.from == nil || load[h] < load[ask.from] {
					ask.from, ask.peer = h, id
				}
			}
			if ask.from != nil {
				load[ask.from]++
				asks = append(asks, ask)
			}
		}
	}
	return asks
}

// ask fetches rows, all at once, and keeps those that verify.
func (g *gather) ask(ctx context.Context, asks []rowAsk) {
	ctx, cancel := context.WithTimeout(ctx, rowPatience)
	defer cancel()
	var wg sync.WaitGroup
	for _, a := range asks {
		wg.Go(func() {
			data, path, err := g.row(ctx, a.peer, a.row)
			if err == nil {
				g.mu.Lock()
				g.read += int64(len(data))
				g.mu.Unlock()
				err = g.block.AddRow(ctx, a.row, data, path)
			}
			g.judge(a, err)
		})
	}
	wg.Wait()
}

// judge remembers how a holder answered.
func (g *gather) judge(a rowAsk, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	wrong, isWrong := errors.AsType[*erasure.RowError](err)
	switch {
	case err == nil:
	case isWrong && wrong.Reason == "combination":
		a.from.lacks[a.row] = true // it fits its path: the publisher's fault
	case isWrong, errors.Is(err, kad.ErrProtocol):
		g.liars[a.peer] = true
	case errors.Is(err, kad.ErrNotHeld):
		a.from.lacks[a.row] = true
	default: // busy, or gone, or our own store's trouble, which the swarm meets as well
		a.from.after = time.Now().Add(busyPause)
	}
}

// fetchRows makes sure that any k rows of b are at hand: by BitTorrent, and row
// by row, or from web seeds, what BitTorrent cannot give. It returns how many
// bytes the latter were.
func (n *Node) fetchRows(ctx context.Context, t *swarm.Torrent, b *blobstore.Block, s supplies, tell func(swarm.Status)) (int64, error) {
	ctx, enough := context.WithCancelCause(ctx)
	g := newGather(b, func(ctx context.Context, p peer.ID, row int) ([]byte, []erasure.Root, error) {
		return n.host.Row(ctx, p, b.ID(), row)
	})
	s.heard = g.heard
	done := n.supply(ctx, t, b.ID(), s)
	var wg sync.WaitGroup
	wg.Go(func() {
		if g.run(ctx, t.Status) == nil {
			enough(errEnough)
		}
	})
	webRead := n.webSeeds(ctx, &wg, b, erasure.PieceSet{}, t.Status, enough)
	err := t.FetchAny(ctx, tell)
	if errors.Is(err, errEnough) {
		err = nil
	}
	enough(context.Canceled)
	wg.Wait()
	done()
	return g.read + webRead(), err
}
