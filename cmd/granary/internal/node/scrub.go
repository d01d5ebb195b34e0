package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"granary/blobstore"
	"granary/erasure"
)

// ScrubOptions say what to scrub and how; the zero value checks every block,
// changes none, and takes what the disk gives.
type ScrubOptions struct {
	Refs     []Ref         // none: all blocks, those checked longest ago first
	Repair   bool          // rebuild what is damaged, from good rows here or from the network
	Rate     int64         // bytes read per second; 0: no limit
	Patience time.Duration // for the network, per block, without a new row; 0: one minute
}

// ScrubResult is what a scrub found in one block and did about it.
type ScrubResult struct {
	ID       string   `json:"id"`
	Name     string   `json:"name,omitempty"`
	State    string   `json:"state"` // "good", "repaired", "damaged" or "unchecked"
	Pieces   int      `json:"pieces_checked"`
	Bytes    int64    `json:"bytes_checked"`
	Bad      int      `json:"pieces_bad"` // damaged, those found by earlier scrubs included
	Repaired int      `json:"pieces_repaired"`
	Lost     int      `json:"pieces_lost"`      // still damaged: neither held nor served
	Mended   []string `json:"mended,omitempty"` // files replaced: info, layers, proof, or content and parity of a wrong length
	TookMS   int64    `json:"took_ms"`
	Err      string   `json:"error,omitempty"`
}

// The states of a scrubbed block.
const (
	scrubGood     = "good"
	scrubRepaired = "repaired"
	scrubDamaged  = "damaged"

	scrubUnchecked = "unchecked" // nothing bad is known, and not all was looked at: something else was in the way
)

// ScrubSummary adds up what a scrub found.
type ScrubSummary struct {
	Blocks    int   `json:"blocks"`
	Damaged   int   `json:"blocks_damaged"`   // that stay so
	Unchecked int   `json:"blocks_unchecked"` // that could not be looked at whole, and are not known to be damaged
	Pieces    int   `json:"pieces_checked"`
	Bytes     int64 `json:"bytes_checked"`
	Bad       int   `json:"pieces_bad"`
	Repaired  int   `json:"pieces_repaired"`
	Lost      int   `json:"pieces_lost"`
	TookMS    int64 `json:"took_ms"`
}

func (s *ScrubSummary) add(r ScrubResult) {
	s.Blocks++
	switch r.State {
	case scrubDamaged:
		s.Damaged++
	case scrubUnchecked:
		s.Unchecked++
	}
	s.Pieces += r.Pieces
	s.Bytes += r.Bytes
	s.Bad += r.Bad
	s.Repaired += r.Repaired
	s.Lost += r.Lost
}

// Scrub checks what the home holds, piece by piece, and repairs what it can
// from good rows that are here. visit is told of each block when it is done. The
// error is that of ctx or of a reference, or that what is found cannot be kept
// (blobstore.ErrDiskFull, blobstore.ErrFailed); a damaged block is none.
func (s *Shelf) Scrub(ctx context.Context, opt ScrubOptions, report Report, visit func(ScrubResult)) (ScrubSummary, error) {
	return (&scrub{Shelf: s, opt: opt, report: report, diary: s.diary("command")}).run(ctx, visit)
}

// scrub is one run of a scrub.
type scrub struct {
	*Shelf
	n      *Node // nil: no node runs, so nothing can be fetched
	opt    ScrubOptions
	report Report
	pace   func(context.Context, int) error
	diary  diary
}

func (s *scrub) run(ctx context.Context, visit func(ScrubResult)) (sum ScrubSummary, err error) {
	var unkept error
	defer func() {
		if last := s.diary.add(); last != nil {
			unkept = last // one says it all
		}
		err = errors.Join(err, unkept)
	}()
	began := time.Now()
	if s.opt.Rate > 0 {
		s.pace = pacer(s.opt.Rate)
	}
	if s.opt.Patience == 0 {
		s.opt.Patience = defaultPatience
	}
	ids, err := s.targets()
	if err != nil {
		return sum, err
	}
	for _, id := range ids {
		r, err := s.one(ctx, id)
		if ctx.Err() != nil {
			return sum, ctx.Err()
		}
		if _, err := s.store.Block(id); errors.Is(err, blobstore.ErrNotFound) {
			continue // dropped meanwhile
		}
		sum.add(r)
		if err := s.diary.note(r); err != nil {
			unkept = err
		}
		visit(r)
		if err != nil {
			return sum, err
		}
	}
	sum.TookMS = time.Since(began).Milliseconds()
	return sum, nil
}

// pacer lets so many bytes per second through, whole pieces at a time.
func pacer(perSecond int64) func(context.Context, int) error {
	const burst = erasure.MaxLength / erasure.MaxFilePieces // the largest piece
	return rate.NewLimiter(rate.Limit(perSecond), burst).WaitN
}

// targets lists what to scrub: those checked longest ago first, so that a scrub
// that is interrupted and run again gets round.
func (s *scrub) targets() ([]erasure.ID, error) {
	var ids []erasure.ID
	for _, ref := range s.opt.Refs {
		id, err := s.Resolve(ref)
		if err != nil {
			return nil, err
		}
		if _, err := s.store.Block(id); errors.Is(err, blobstore.ErrNotFound) {
			return nil, err
		}
		ids = append(ids, id)
	}
	if len(s.opt.Refs) > 0 {
		return ids, nil
	}
	blocks := s.store.Blocks()
	slices.SortStableFunc(blocks, func(a, b *blobstore.Block) int { return a.Checked().Compare(b.Checked()) })
	for id := range s.store.Damaged() {
		ids = append(ids, id)
	}
	for _, b := range blocks {
		ids = append(ids, b.ID())
	}
	return ids, nil
}

// one scrubs a block. The error ends the run: what is found cannot be kept.
func (s *scrub) one(ctx context.Context, id erasure.ID) (r ScrubResult, end error) {
	began := time.Now()
	r = ScrubResult{ID: id.String(), State: scrubGood}
	b, err := s.check(ctx, id, &r)
	if errors.Is(err, blobstore.ErrDiskFull) || errors.Is(err, blobstore.ErrFailed) {
		end = err
	}
	if b != nil {
		r.Bad = b.Quarantined().Count()
		r.Lost = r.Bad
		if r.Bad > 0 && s.opt.Repair {
			rerr := s.repair(ctx, b)
			if r.Lost = b.Quarantined().Count(); r.Lost > 0 {
				err = errors.Join(err, rerr)
			}
			r.Bad = max(r.Bad, r.Lost) // others find damage, too
		}
		r.Repaired = r.Bad - r.Lost
	}
	if err != nil {
		r.Err = err.Error()
	}
	switch {
	case r.Lost > 0 || isDamage(err):
		r.State = scrubDamaged
	case err != nil:
		r.State = scrubUnchecked
	case r.Bad > 0 || len(r.Mended) > 0:
		r.State = scrubRepaired
	}
	r.TookMS = time.Since(began).Milliseconds()
	return r, end
}

// isDamage reports whether err says that a block is bad, and not that something
// else, such as too many open files, was in the way of looking.
func isDamage(err error) bool {
	_, wrong := errors.AsType[*blobstore.PieceError](err)
	return wrong || errors.Is(err, blobstore.ErrDamaged)
}

// check scrubs a block's files, after its description was asked of others if it
// is lost here.
func (s *scrub) check(ctx context.Context, id erasure.ID, r *ScrubResult) (*blobstore.Block, error) {
	for try := 0; ; try++ {
		b, err := s.store.Block(id)
		if err == nil {
			err = s.checkOnce(ctx, b, r)
		}
		if !errors.Is(err, blobstore.ErrDamaged) || try > 0 || s.n == nil || !s.opt.Repair {
			return b, err
		}
		if rerr := s.n.redescribe(ctx, id, s.opt.Patience); rerr != nil {
			return b, errors.Join(err, rerr)
		}
	}
}

func (s *scrub) checkOnce(ctx context.Context, b *blobstore.Block, r *ScrubResult) error {
	r.Name = b.Bundle().Info.Name
	got, err := b.Scrub(ctx, blobstore.ScrubConfig{Pace: s.pace, Progress: func(done, total int64) {
		s.report.to(Progress{Stage: "scrub", Done: done, Total: total, Unit: "bytes", Text: b.ID().Short()})
	}})
	r.Pieces += got.Pieces
	r.Bytes += got.Bytes
	r.Mended = append(r.Mended, got.Mended...)
	if got.Bad.Count() > 0 && s.n != nil {
		err = errors.Join(err, s.n.seed(b)) // peers are told what we no longer have
	}
	return err
}

// repair rebuilds a block's quarantined pieces, and fetches those that cannot
// be rebuilt.
func (s *scrub) repair(ctx context.Context, b *blobstore.Block) error {
	if s.n != nil {
		return s.n.heal(ctx, b, s.opt.Patience)
	}
	_, err := b.Repair(ctx, s.report.bytes("repair"))
	return err
}

// Scrub is Shelf.Scrub for a running node: what cannot be rebuilt from what is
// here is fetched.
func (n *Node) Scrub(ctx context.Context, opt ScrubOptions, report Report, visit func(ScrubResult)) (ScrubSummary, error) {
	return (&scrub{Shelf: n.Shelf, n: n, opt: opt, report: report, diary: n.diary("command")}).run(ctx, visit)
}

// heal makes the quarantined pieces of b held again: from good rows here, from
// those who hold the same pieces, or from any k rows of the network.
func (n *Node) heal(ctx context.Context, b *blobstore.Block, patience time.Duration) error {
	if err := n.rebuild(ctx, b); err == nil || ctx.Err() != nil {
		return err
	}
	kept := b.Held()
	kept.Union(b.Quarantined())
	t, err := n.swarm.Add(n.face(b))
	if err != nil {
		return err
	}
	defer n.supply(ctx, t, b.ID(), supplies{first: n.keepers()})()
	fetch := func(get func(context.Context) error) error {
		limited, cancel := n.patient(ctx, b, patience)
		defer cancel()
		if err := get(limited); err != nil {
			return fmt.Errorf("fetch what is damaged: %w", errors.Join(context.Cause(limited), err))
		}
		return nil
	}
	same := func(ctx context.Context) error {
		if err := t.Fetch(ctx, b.Quarantined()); err != nil {
			return err
		}
		return n.rebuild(ctx, b) // it may be whole again
	}
	enough := func(ctx context.Context) error {
		if err := t.FetchAny(ctx, nil); err != nil {
			return err
		}
		return n.rebuild(ctx, b)
	}
	// Whatever is less to fetch first.
	ways := []func(context.Context) error{same, enough}
	if g := b.Geometry(); g.K()-b.Rows() < g.RowsIn(b.Quarantined()) {
		slices.Reverse(ways)
	}
	for _, way := range ways {
		if err = fetch(way); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err == nil {
		err = n.seed(b)
	}
	kept.Union(n.owed(b))
	return errors.Join(err, n.unlessHeld(b.ID(), func() error {
		if why, _ := n.reasons(b); n.busy(b.ID()) || len(why) > 0 && why[0] != ReasonCustody {
			return nil // wanted whole, or not decided yet
		}
		return n.cut(ctx, b, kept)
	}))
}

// rebuild repairs b from what is here.
func (n *Node) rebuild(ctx context.Context, b *blobstore.Block) error {
	n.coding.Lock() // tables and bands take memory: one block at a time
	defer n.coding.Unlock()
	got, err := b.Repair(ctx, nil)
	if got.Count() > 0 {
		err = errors.Join(err, n.seed(b))
	}
	return err
}

// redescribe asks others for the description of a block that cannot be used
// without, and mends it.
func (n *Node) redescribe(ctx context.Context, id erasure.ID, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	bundle, err := n.lookUp(ctx, id, n.keepers(), nil)
	if err != nil {
		return err
	}
	b, err := n.store.Put(context.WithoutCancel(ctx), bundle)
	if err != nil {
		return err
	}
	return n.seed(b)
}
