package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"granary/blobstore"
	"granary/erasure"
	"granary/ledger"
	"granary/sampling"
)

// A custodian that is to rebuild a piece first has so long for it: to fetch the
// block at slotRate, and some more. A devnet's are near: there, patience and slot
// are so many of the network's rounds.
const (
	slotBase = 30 * time.Second
	slotRate = 1 << 20 // bytes per second

	devnetPatience = 20
	devnetSlot     = 10

	// maxRivals bounds the holders that are asked whether they lack what we do.
	maxRivals = 256
)

// share is our custody of one block.
type share struct {
	*Node
	block *blobstore.Block
	owed  erasure.PieceSet
	named []ledger.PeerID
}

var _ sampling.Share = share{}

// keep brings the share together.
func (s share) keep(ctx context.Context) error {
	c := sampling.Custodian{
		ID: []byte(s.host.ID()), Patience: custodyPatience,
		Slot: slotBase + time.Duration(s.block.Geometry().PaddedLength()/slotRate)*time.Second,
	}
	if round := s.cfg.Genesis.Params.RetryRound; s.cfg.Devnet {
		c.Patience, c.Slot = devnetPatience*round, devnetSlot*round
	}
	return c.Keep(ctx, s.block.ID(), s)
}

// Fetch implements sampling.Share, by BitTorrent, and from web seeds what no peer has:
// what fewest of those connected have comes first, in an order that differs from
// custodian to custodian.
func (s share) Fetch(ctx context.Context, patience time.Duration) error {
	t, err := s.swarm.Add(s.face(s.block))
	if err != nil {
		return err
	}
	defer s.supply(ctx, t, s.block.ID(), supplies{first: s.sources(s.named)})()
	limited, cancel := s.patient(ctx, s.block, patience)
	defer cancel()
	err = s.fetchPieces(limited, t, s.block, s.owed)
	switch cause := context.Cause(limited); {
	case err == nil || cause == nil: // nil: the fetch failed by itself
		return err
	case errors.Is(cause, ErrStalled):
		s.stall(s.block.ID(), true)
		return fmt.Errorf("%w: %w", sampling.ErrGone, cause)
	default:
		return fmt.Errorf("%w: %w", err, cause)
	}
}

// Rivals implements sampling.Share.
func (s share) Rivals(ctx context.Context) [][]byte {
	g := s.block.Geometry()
	lacks := func(theirs, held erasure.PieceSet) bool {
		for p := range theirs.All() {
			if s.owed.Has(p) && !s.block.Has(p) && !held.Has(p) {
				return true
			}
		}
		return false
	}
	var (
		mu     sync.Mutex // guards rivals
		rivals [][]byte
		asking sync.WaitGroup
		slots  = make(chan struct{}, maxAsking)
		asked  int
	)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for found := range s.host.FindHolders(ctx, s.block.ID()) {
		if asked++; asked > maxRivals {
			cancel()
			break
		}
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			hello, err := s.host.Hello(ctx, found.Peer, s.block.ID())
			if err != nil || !hello.Custodian {
				return
			}
			held, err := erasure.ParsePieceSet(g.Pieces(), hello.Held)
			if err != nil {
				held = erasure.NewPieceSet(g.Pieces()) // it knows nothing of the block yet
			}
			if lacks(sampling.Owed(s.block.ID(), g, hello.Groups), held) {
				mu.Lock()
				defer mu.Unlock()
				rivals = append(rivals, []byte(found.Peer))
			}
		})
	}
	asking.Wait()
	return rivals
}

// Rebuild implements sampling.Share. K rows are fetched for one block at a time.
func (s share) Rebuild(ctx context.Context) error {
	select {
	case s.rebuilding <- struct{}{}:
		defer func() { <-s.rebuilding }()
	case <-ctx.Done():
		return ctx.Err()
	}
	s.stall(s.block.ID(), false)
	lacked := s.owed.Clone()
	for p := range s.block.Held().All() {
		lacked.Remove(p)
	}
	kept := s.owed.Clone() // what an attempt that was cut short left is not
	if s.lendCap() > 0 {
		kept.Union(s.block.Held())
	}
	// The rows go again: nothing that was fetched is dropped for them.
	err := s.fits(s.block, erasure.AllPieces(s.block.Geometry().Pieces()))
	if err == nil {
		err = s.fetchWhole(ctx, s.block, s.named)
	}
	if ctx.Err() != nil {
		return err // interrupted: taken up again, with what is here
	}
	if err != nil {
		err = fmt.Errorf("rebuild %d pieces that nobody serves: %w", lacked.Count(), err)
	} else {
		s.log.Info("pieces that nobody served rebuilt", "block", s.block.ID().Short(), "pieces", lacked.Count())
	}
	return errors.Join(err, s.trim(ctx, kept))
}

// trim drops all but the pieces kept, unless somebody here wants the block.
func (s share) trim(ctx context.Context, kept erasure.PieceSet) error {
	return s.unlessHeld(s.block.ID(), func() error {
		if why, _ := s.reasons(s.block); !slices.Equal(why, []Reason{ReasonCustody}) {
			return nil
		}
		return s.cut(ctx, s.block, kept)
	})
}
