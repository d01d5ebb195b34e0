package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"granary/blobstore"
	"granary/cmd/granary/internal/journal"
	"granary/erasure"
)

// reasonUnknown is the class of blocks that have no reason to be kept: the
// index was lost, and why they are here with it. They are never dropped.
const reasonUnknown Reason = "unknown"

// DropPolicy says what a node drops when its quota is reached, for people.
const DropPolicy = "blocks whose keep has ended, then what was only fetched, asked for longest ago first; " +
	"never custody that is owed, nor what is pinned or published"

// Use is what the blocks kept for one reason take.
type Use struct {
	Why    Reason `json:"why"` // or "unknown", after the index was lost
	Blocks int    `json:"blocks"`
	Bytes  int64  `json:"bytes"`
}

// Storage tells how full a home is and in what state.
type Storage struct {
	Bytes  int64  `json:"bytes"` // on disk, everything in the home
	Quota  int64  `json:"quota"` // 0: no limit
	Free   *int64 `json:"free,omitempty"`
	Uses   []Use  `json:"uses"`
	Policy string `json:"policy"` // what is dropped when the quota is reached

	Damaged int        `json:"blocks_damaged"`
	Lost    int        `json:"pieces_damaged"`
	Checked *time.Time `json:"checked,omitempty"` // when the block was that was checked longest ago
	Rebuilt *time.Time `json:"index_rebuilt,omitempty"`
	Failed  bool       `json:"index_failed,omitempty"` // nothing can be stored until the node is started again

	// Scrubs sums up the home's journal of scrubs; absent if it is empty, or
	// cannot be read.
	Scrubs *journal.ScrubHistory `json:"scrubs,omitempty"`
}

// storage describes the home; bytes is what it takes on disk.
func (s *Shelf) storage(bytes, quota int64) (Storage, error) {
	st := Storage{Bytes: bytes, Quota: quota, Uses: s.uses(), Policy: DropPolicy, Damaged: len(s.store.Damaged()), Failed: s.store.Failed()}
	if quota > 0 {
		free, err := s.store.Free()
		if err != nil {
			return st, err
		}
		st.Free = &free
	}
	for _, b := range s.store.Blocks() {
		if n := b.Quarantined().Count(); n > 0 {
			st.Damaged++
			st.Lost += n
		}
		if at := b.Checked(); st.Checked == nil || at.Before(*st.Checked) {
			st.Checked = &at
		}
	}
	if h, err := s.scrubs.History(); err == nil && !h.Since.IsZero() {
		st.Scrubs = &h
	}
	if at := s.store.Rebuilt(); !at.IsZero() {
		st.Rebuilt = &at
	}
	return st, nil
}

// uses adds up what the blocks take by the reason that keeps them longest; of a
// block that is owed in part, what is only fetched counts as such.
func (s *Shelf) uses() []Use {
	all := []Use{{Why: ReasonPublished}, {Why: ReasonPinned}, {Why: ReasonCustody}, {Why: ReasonFetched}, {Why: reasonUnknown}}
	add := func(why Reason, blocks int, bytes int64) {
		i := slices.IndexFunc(all, func(u Use) bool { return u.Why == why })
		all[i].Blocks += blocks
		all[i].Bytes += bytes
	}
	for _, b := range s.store.Blocks() {
		why, _ := s.reasons(b)
		switch {
		case len(why) == 0:
			add(reasonUnknown, 1, b.Bytes())
		case len(why) == 2 && why[0] == ReasonFetched:
			extra := s.extra(b)
			add(ReasonCustody, 1, b.Bytes()-extra)
			add(ReasonFetched, 0, extra)
		default:
			add(why[0], 1, b.Bytes())
		}
	}
	return slices.DeleteFunc(all, func(u Use) bool { return u.Bytes == 0 })
}

// extra is the bytes of b that are here only because it was fetched.
func (s *Shelf) extra(b *blobstore.Block) int64 {
	if why, _ := s.reasons(b); len(why) == 0 || why[0] != ReasonFetched {
		return 0
	}
	return s.notOwed(b)
}

// notOwed is the bytes of b that giving it up frees: all but what is owed.
func (s *Shelf) notOwed(b *blobstore.Block) int64 {
	if b.Note(noteIndex) == nil {
		return b.Bytes()
	}
	owed := s.owed
	if s.share != nil {
		owed = s.share
	}
	rest := b.Held()
	for p := range owed(b).All() {
		rest.Remove(p)
	}
	return int64(b.Geometry().RowsIn(rest)) * erasure.RowSize
}

// QuotaError refuses what does not fit, and says what takes the room. It wraps
// blobstore.ErrQuota.
type QuotaError struct {
	Need, Free, Quota int64 // bytes
	Uses              []Use
}

func (e *QuotaError) Error() string {
	size := func(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }
	text := fmt.Sprintf("quota reached: %s needed, %s free of %s", size(e.Need), size(e.Free), size(e.Quota))
	var uses []string
	for _, u := range e.Uses {
		uses = append(uses, fmt.Sprintf("%s %s", u.Why, size(u.Bytes)))
	}
	if len(uses) > 0 {
		text += "; in use: " + strings.Join(uses, ", ")
	}
	return text
}

func (e *QuotaError) Unwrap() error { return blobstore.ErrQuota }

// explained makes of a refusal of the store one that says what takes the room.
func (n *Node) explained(err error) error {
	var q *blobstore.QuotaError
	if !errors.As(err, &q) {
		return err
	}
	return n.refusal(q.Need, q.Free)
}

func (n *Node) refusal(need, free int64) error {
	return &QuotaError{Need: need, Free: free, Quota: n.cfg.Quota, Uses: n.uses()}
}

// makeRoom sees to it that need bytes are free, for the block keep if that is
// set: it drops parity that can be computed again, then what was only fetched,
// asked for longest ago first. If that would not suffice it drops nothing of the
// latter and returns a *QuotaError.
func (n *Node) makeRoom(ctx context.Context, need int64, keep erasure.ID) error {
	free, err := n.store.Free()
	if err != nil || need <= free || free == math.MaxInt64 {
		return err
	}
	n.dropping.Lock()
	defer n.dropping.Unlock()
	if free, err = n.spareParity(ctx, need, keep); err != nil {
		return err
	}
	var drop []*blobstore.Block
	after := free
	for _, b := range n.spare(keep) {
		if after >= need {
			break
		}
		drop = append(drop, b)
		after += n.extra(b)
	}
	if after < need {
		return n.refusal(need, free)
	}
	for _, b := range drop {
		err := n.unlessHeld(b.ID(), func() error {
			if n.busy(b.ID()) || n.extra(b) == 0 {
				return nil // pinned, or asked for again, while others were dropped
			}
			n.log.Info("quota reached: fetched block dropped", "block", b.ID().Short(), "bytes", n.extra(b))
			return n.Unpin(ctx, b.ID())
		})
		if err != nil && !errors.Is(err, blobstore.ErrNotFound) {
			return fmt.Errorf("make room: %w", err)
		}
	}
	return nil
}

// spare lists the blocks that may be dropped, or cut to what is owed, in the
// order in which they are: not those that somebody is at work on.
func (n *Node) spare(keep erasure.ID) []*blobstore.Block {
	var all []*blobstore.Block
	asked := map[*blobstore.Block]int64{}
	for _, b := range n.store.Blocks() {
		if n.busy(b.ID()) || b.ID() == keep || n.chain != nil && b.Note(noteIndex) != nil || n.extra(b) == 0 {
			continue
		}
		asked[b], _ = strconv.ParseInt(string(b.Note(noteAsked)), 10, 64) // 0: before that was noted
		all = append(all, b)
	}
	slices.SortStableFunc(all, func(a, b *blobstore.Block) int { return int(min(max(asked[a]-asked[b], -1), 1)) })
	return all
}

// roomFor makes room for pieces of b, those it has already counted in.
func (n *Node) roomFor(ctx context.Context, b *blobstore.Block, pieces erasure.PieceSet) error {
	return n.makeRoom(ctx, more(b, pieces), b.ID())
}

// fits refuses pieces of b for which there is no room, and drops nothing.
func (n *Node) fits(b *blobstore.Block, pieces erasure.PieceSet) error {
	free, err := n.store.Free()
	if need := more(b, pieces); err == nil && need > free {
		err = n.refusal(need, free)
	}
	return err
}

// more is the bytes that b takes beyond those it does when pieces are added.
func more(b *blobstore.Block, pieces erasure.PieceSet) int64 {
	all := b.Held()
	all.Union(b.Quarantined())
	all.Union(pieces)
	return blobstore.Cost(b.Geometry(), all) - b.Bytes()
}

// put stores a block's description, with room made for it.
func (n *Node) put(ctx context.Context, bundle erasure.Bundle) (*blobstore.Block, error) {
	g := bundle.Info.Geometry()
	b, err := n.store.Put(ctx, bundle)
	if errors.Is(err, blobstore.ErrQuota) {
		if err = n.makeRoom(ctx, blobstore.Cost(g, erasure.NewPieceSet(g.Pieces())), bundle.Info.ID()); err == nil {
			b, err = n.store.Put(ctx, bundle)
		}
	}
	return b, err
}

// scratch makes a scratch file for so many bytes of rows, with room made for it.
func (n *Node) scratch(ctx context.Context, bytes int64) (*blobstore.Scratch, error) {
	f, err := n.store.Scratch(ctx, bytes)
	if q, full := errors.AsType[*blobstore.QuotaError](err); full {
		if err = n.makeRoom(ctx, q.Need, erasure.ID{}); err == nil {
			f, err = n.store.Scratch(ctx, bytes)
		}
	}
	return f, n.explained(err)
}

// refused explains why b could not be fetched; a quota leaves nothing behind.
func (n *Node) refused(ctx context.Context, b *blobstore.Block, err error) error {
	if errors.Is(err, blobstore.ErrQuota) {
		return errors.Join(n.explained(err), n.forgetEmpty(ctx, b))
	}
	return err
}

// forgetEmpty removes a block of which nothing but its description came, when
// what was to come was refused.
func (n *Node) forgetEmpty(ctx context.Context, b *blobstore.Block) error {
	n.mu.Lock()
	_, pending := n.pending[b.ID()]
	others := n.fetching[b.ID()] > 1
	n.mu.Unlock()
	own := Reason(b.Note(noteOwn))
	if pending || others || own == ReasonPinned || own == ReasonPublished || b.Note(noteIndex) != nil ||
		b.RowsAtHand()+b.Quarantined().Count() > 0 {
		return nil
	}
	return n.Remove(context.WithoutCancel(ctx), b.ID())
}

// Hold keeps a block from being dropped until end is called. It waits while one
// is dropped.
func (n *Node) Hold(id erasure.ID) (end func()) {
	add := func(by int) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.fetching[id] += by; n.fetching[id] == 0 {
			delete(n.fetching, id)
		}
	}
	n.holding.Lock()
	defer n.holding.Unlock()
	add(1)
	return func() { add(-1) }
}

// unlessHeld calls drop, which drops some of a block or all of it, unless
// somebody holds the block. What drop finds out about it stays true: who comes
// to want the block holds it first, and then notes why.
func (n *Node) unlessHeld(id erasure.ID, drop func() error) error {
	n.holding.Lock()
	defer n.holding.Unlock()
	n.mu.Lock()
	held := n.fetching[id] > 0
	n.mu.Unlock()
	if held {
		return nil
	}
	return drop()
}
