package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"granary/blobstore"
	"granary/erasure"
	"granary/swarm"
)

const (
	// parityStay is how long parity that was computed stays on the disk, however
	// often it is read: strangers who read on must not keep it here. It is
	// computed anew if it is asked for again.
	parityStay = 10 * time.Minute

	// parityMost bounds the parity that is on the disk for a while only, quota or
	// not, in bytes: that of 16 of the largest blocks. What came longest ago goes.
	parityMost = 16 * erasure.MaxLength

	// After parity was computed nothing is for four times as long: strangers
	// who ask take a fifth of one processor at most.
	parityRest = 4

	// parityPatience is how long a request waits for its turn. Peers ask again.
	parityPatience = 40 * time.Second

	// What cannot be computed, because the disk or the quota is full, is not
	// claimed for so long.
	parityRetry = 10 * time.Minute
)

// errParity reports parity that cannot be computed now.
var errParity = errors.New("parity cannot be computed now")

// onDemand computes the parity of blocks of which only the content is kept
// (keep_parity = false) when somebody asks for it: all of it at once, which
// costs hardly more than one row does, onto the disk, where it stays for a while
// or until the room is needed. One block at a time, and not without pause.
type onDemand struct {
	ctx    context.Context
	coding *sync.Mutex // held while a block is coded
	log    *slog.Logger
	stay   time.Duration // parityStay
	most   int64         // parityMost

	// bound makes room for the parity of a block within most.
	bound func(context.Context, *blobstore.Block) error

	news chan struct{} // something was ordered

	mu       sync.Mutex
	queues   [parityQueues][]*parityOrder // guarded by mu: what waits, and what ended while it did
	turn     parityFor                    // guarded by mu: whose it is
	orders   map[erasure.ID]*parityOrder  // guarded by mu: those that have not ended
	since    map[erasure.ID]time.Time     // guarded by mu: when parity was computed or, before that, first asked for
	refused  map[erasure.ID]time.Time     // guarded by mu: until when it is not to be had
	away     map[erasure.ID]bool          // guarded by mu: no more served
	computed int64                        // guarded by mu: blocks whose parity was, since the start
	took     time.Duration                // guarded by mu: for that
}

func newOnDemand(ctx context.Context, coding *sync.Mutex, log *slog.Logger) *onDemand {
	return &onDemand{
		ctx: ctx, coding: coding, log: log, stay: parityStay, most: parityMost, news: make(chan struct{}, 1),
		bound:  func(context.Context, *blobstore.Block) error { return nil },
		orders: map[erasure.ID]*parityOrder{}, since: map[erasure.ID]time.Time{}, refused: map[erasure.ID]time.Time{}, away: map[erasure.ID]bool{},
	}
}

// face is a block as others see it: with the parity that can be computed.
type face struct {
	*blobstore.Block
	d *onDemand
}

var _ swarm.Block = face{}

// face returns b as others see it.
func (n *Node) face(b *blobstore.Block) swarm.Block {
	if n.parity == nil {
		return b
	}
	return face{b, n.parity}
}

// can reports whether piece is not held and can be computed.
func (f face) can(piece int) bool {
	if piece < f.Geometry().FilePieces() || !f.HasContent() {
		return false
	}
	return !f.d.refuses(f.ID())
}

// refuses reports whether parity of a block is not to be had now.
func (d *onDemand) refuses(id erasure.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.away[id] || time.Now().Before(d.refused[id])
}

// Has reports whether piece is held or can be computed.
func (f face) Has(piece int) bool { return f.Block.Has(piece) || f.can(piece) }

// Held returns the pieces that Has.
func (f face) Held() erasure.PieceSet {
	held := f.Block.Held()
	if g := f.Geometry(); f.can(g.FilePieces()) {
		for p := g.FilePieces(); p < g.Pieces(); p++ {
			held.Add(p)
		}
	}
	return held
}

// ReadPieceAt reads from a piece, after its parity was computed if need be.
func (f face) ReadPieceAt(piece int, p []byte, off int64) (int, error) {
	if f.missing(piece) {
		if err := f.d.compute(f.Block, forReads); err != nil {
			return 0, fmt.Errorf("piece %d of %s: %w", piece, f.ID().Short(), err)
		}
	}
	return f.Block.ReadPieceAt(piece, p, off)
}

// missing notes that piece is asked for, and reports whether it is to be
// computed first.
func (f face) missing(piece int) bool {
	if piece < f.Geometry().FilePieces() {
		return false
	}
	f.d.mu.Lock()
	if _, asked := f.d.since[f.ID()]; !asked {
		f.d.since[f.ID()] = time.Now()
	}
	f.d.mu.Unlock()
	return !f.Block.Has(piece) && f.can(piece)
}

// drop drops the parity of b that is not in keep, unless it was computed of late
// or cannot be again.
func (d *onDemand) drop(ctx context.Context, b *blobstore.Block, keep erasure.PieceSet) error {
	d.mu.Lock()
	recent := time.Since(d.since[b.ID()]) <= d.stay
	d.mu.Unlock()
	if recent {
		return nil
	}
	return d.dropNow(ctx, b, keep)
}

// dropNow drops the parity of b that is not in keep, unless it cannot be
// computed again.
func (d *onDemand) dropNow(ctx context.Context, b *blobstore.Block, keep erasure.PieceSet) error {
	if !b.HasContent() {
		return nil
	}
	d.mu.Lock()
	delete(d.since, b.ID())
	d.mu.Unlock()
	drop := parityBut(b, keep)
	if drop.Count() == 0 {
		return nil
	}
	if err := b.DropPieces(ctx, drop); err != nil {
		return fmt.Errorf("drop parity of %s: %w", b.ID().Short(), err)
	}
	return nil
}

// parityBut returns the parity pieces held of b that are not in keep.
func parityBut(b *blobstore.Block, keep erasure.PieceSet) erasure.PieceSet {
	g := b.Geometry()
	rest := erasure.NewPieceSet(g.Pieces())
	for p := range b.Held().All() {
		if p >= g.FilePieces() && !keep.Has(p) {
			rest.Add(p)
		}
	}
	return rest
}

// forget forgets all blocks but these.
func (d *onDemand) forget(but []*blobstore.Block) {
	here := map[erasure.ID]bool{}
	for _, b := range but {
		here[b.ID()] = true
	}
	gone := func(id erasure.ID, _ time.Time) bool { return !here[id] }
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.since, gone)
	maps.DeleteFunc(d.refused, gone)
	maps.DeleteFunc(d.away, func(id erasure.ID, _ bool) bool { return !here[id] })
}

// wasRefused reports whether what is claimed of a block may have changed.
func (d *onDemand) wasRefused(id erasure.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	until, ok := d.refused[id]
	if ok && time.Now().After(until) {
		delete(d.refused, id)
	}
	return ok
}

func (n *Node) isServedAnyway(id erasure.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.anyway[id] > 0
}

// holdsAll reports whether all of b is here, or can be computed.
func (n *Node) holdsAll(b *blobstore.Block) bool {
	return b.Whole() || n.parity != nil && b.HasContent()
}

// ParityStatus tells of parity that is not kept.
type ParityStatus struct {
	Blocks   int   `json:"blocks"`   // kept without some of it, or without any
	Bytes    int64 `json:"bytes"`    // that this saves
	Computed int64 `json:"computed"` // times that parity of a block was, since the start
	TookMS   int64 `json:"took_ms"`  // for that
}

// Parity tells of parity that is not kept; nil: all of it is.
func (n *Node) Parity() *ParityStatus {
	if n.parity == nil {
		return nil
	}
	var s ParityStatus
	for _, b := range n.store.Blocks() {
		if b.Whole() || !b.HasContent() {
			continue
		}
		s.Blocks++
		s.Bytes += int64(b.Geometry().Rows()-b.Rows()) * erasure.RowSize
	}
	n.parity.mu.Lock()
	defer n.parity.mu.Unlock()
	s.Computed, s.TookMS = n.parity.computed, n.parity.took.Milliseconds()
	return &s
}
