// Package gather gets rows of blocks that BitTorrent cannot give: single ones from
// holders over libp2p, and content from web servers that the owner named. It says in
// words what a download waits for.
package gather

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
	// headStart is how long BitTorrent is given to connect to enough peers before anybody
	// else is asked.
	headStart = 3 * time.Second

	lookEvery   = 250 * time.Millisecond // at what BitTorrent offers
	rowsAtOnce  = 16                     // asked for at a time
	rowsPerPeer = 4                      // of them of one holder
	maxHolders  = 128                    // remembered
	rowPatience = 10 * time.Second
	busyPause   = 2 * time.Second
)

// Rows asks holders for single rows, over libp2p, of pieces that the swarm
// cannot give: their holder has no torrent port that we reach, or lost some of
// the piece. Any k rows make the block, however they are scattered.
type Rows struct {
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

// NewRows gathers rows of b. row asks a holder for one, as kad.Host.Row does, and is
// called concurrently.
func NewRows(b *blobstore.Block, row func(context.Context, peer.ID, int) ([]byte, []erasure.Root, error)) *Rows {
	return &Rows{block: b, row: row, after: headStart, holders: map[peer.ID]*rowHolder{}, liars: map[peer.ID]bool{}}
}

// Heard notes what a holder says it has.
func (r *Rows) Heard(p peer.ID, hello kad.Hello) {
	has, err := erasure.ParsePieceSet(r.block.Geometry().Pieces(), hello.Held)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.holders[p]; h != nil {
		h.has = has
		return
	}
	if r.liars[p] {
		return
	}
	r.holders[p] = &rowHolder{has: has, lacks: map[int]bool{}, from: network(hello.Torrent.Addr())}
	if len(r.holders) > maxHolders {
		delete(r.holders, r.crowded())
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
// networks are not. r.mu is held.
func (r *Rows) crowded() peer.ID {
	of := map[netip.Prefix][]peer.ID{}
	most := 0
	for p, h := range r.holders {
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

// Run gathers rows while those at hand and those that swarm offers are too few,
// until k are at hand: then it returns nil. offered is called now and then.
func (r *Rows) Run(ctx context.Context, offered func() swarm.Status) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	began := time.Now()
	for {
		if r.block.RowsAtHand() >= r.block.Geometry().K() {
			return nil
		}
		if time.Since(began) >= r.after {
			if asks := r.choose(offered()); len(asks) > 0 {
				r.ask(ctx, asks)
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
func (r *Rows) choose(st swarm.Status) []rowAsk {
	geo, held := r.block.Geometry(), r.block.Held()
	reach := Reachable(held, st)
	if geo.RowsIn(reach) >= geo.K() {
		return nil
	}
	need := min(geo.K()-r.block.RowsAtHand(), rowsAtOnce)
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var asks []rowAsk
	load := map[*rowHolder]int{}
	for p := range geo.Pieces() {
		if reach.Has(p) {
			continue
		}
		first, count := geo.PieceSpan(p)
		for row := first; row < first+count && len(asks) < need; row++ {
			if r.block.HasRow(row) {
				continue
			}
			ask := rowAsk{row: row}
			for id, h := range r.holders {
				if r.liars[id] || h.lacks[row] || now.Before(h.after) || !h.has.Has(p) || load[h] >= rowsPerPeer {
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
func (r *Rows) ask(ctx context.Context, asks []rowAsk) {
	ctx, cancel := context.WithTimeout(ctx, rowPatience)
	defer cancel()
	var wg sync.WaitGroup
	for _, a := range asks {
		wg.Go(func() {
			data, path, err := r.row(ctx, a.peer, a.row)
			if err == nil {
				r.mu.Lock()
				r.read += int64(len(data))
				r.mu.Unlock()
				err = r.block.AddRow(ctx, a.row, data, path)
			}
			r.judge(a, err)
		})
	}
	wg.Wait()
}

// judge remembers how a holder answered.
func (r *Rows) judge(a rowAsk, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wrong, isWrong := errors.AsType[*erasure.RowError](err)
	switch {
	case err == nil:
	case isWrong && wrong.Reason == "combination":
		a.from.lacks[a.row] = true // it fits its path: the publisher's fault
	case isWrong, errors.Is(err, kad.ErrProtocol):
		r.liars[a.peer] = true
	case errors.Is(err, kad.ErrNotHeld):
		a.from.lacks[a.row] = true
	default: // busy, or gone, or our own store's trouble, which the swarm meets as well
		a.from.after = time.Now().Add(busyPause)
	}
}

// Read returns how many bytes of rows came.
func (r *Rows) Read() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read
}
