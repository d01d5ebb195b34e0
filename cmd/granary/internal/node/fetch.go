package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"granary/blobstore"
	"granary/cmd/granary/internal/gather"
	"granary/erasure"
	"granary/ledger"
	"granary/swarm"
)

// defaultPatience is how long a fetch waits without a new row.
const defaultPatience = time.Minute

// FetchOptions say how to fetch; the zero value works.
type FetchOptions struct {
	Peers    []netip.AddrPort // BitTorrent peers the user names, asked beside those found
	Patience time.Duration    // give up after so long without a new row; 0: one minute
}

// Fetched tells how a block came to be whole.
type Fetched struct {
	Block  *blobstore.Block
	Read   int64        // payload bytes received from peers
	Rows   int          // rows held when decoding began
	Peers  int          // most peers connected at a time
	Banned []netip.Addr // peers that sent wrong bytes, all torrents together
	Ledger string       // what the ledger says of the block
	Height int64        // of its certificate, 0 without one
	Took   time.Duration
}

// Fetch makes a block whole: it finds the block's description and holders,
// downloads any k rows, decodes them, and checks that the result is clean. A
// block that is whole already is returned at once. What was fetched before an
// error is kept, so a later call resumes.
//
// Errors: deny.ErrDenied, ErrOffline, ErrNotFound, ErrTooFewRows, ErrStalled, erasure.ErrNotClean,
// blobstore.ErrQuota, and what the network gives.
func (n *Node) Fetch(ctx context.Context, ref Ref, opt FetchOptions, report Report) (Fetched, error) {
	began := time.Now()
	if err := n.traffic.Spent(); err != nil {
		return Fetched{}, err
	}
	if opt.Patience == 0 {
		opt.Patience = defaultPatience
	}
	id, err := n.ResolveInLedger(ctx, ref, opt.Patience)
	if err != nil {
		return Fetched{}, err
	}
	defer n.Hold(id)()
	b, err := n.locate(ctx, Ref{ID: id, Bundle: ref.Bundle}, opt, report)
	if err != nil {
		return Fetched{}, n.explained(err)
	}
	// First, so that it is not dropped on the way.
	if err := askedFor(ctx, b); err != nil && !(n.holdsAll(b) && errors.Is(err, blobstore.ErrQuota)) {
		return Fetched{}, n.refused(ctx, b, err)
	}
	got := Fetched{Block: b}
	if n.cfg.Faults.Corrupt {
		return got, n.seed(b)
	}
	if !n.holdsAll(b) {
		if err := n.fill(ctx, b, opt, report, &got); err != nil {
			return got, n.refused(ctx, b, err)
		}
	}
	got.Took, got.Banned = time.Since(began), n.swarm.Banned()
	got.Ledger, got.Height = n.standing(ctx, b)
	return got, n.seed(b)
}

// locate returns the stored block of ref, an ID, with its description looked up
// when the store does not have it.
func (n *Node) locate(ctx context.Context, ref Ref, opt FetchOptions, report Report) (*blobstore.Block, error) {
	if err := n.refuseDenied(ctx, ref.ID); err != nil {
		return nil, err
	}
	b, err := n.store.Block(ref.ID)
	if !errors.Is(err, blobstore.ErrNotFound) {
		return b, err
	}
	report.to(Progress{Stage: "find", Text: "looking for holders of " + ref.ID.Short()})
	look, cancel := context.WithTimeout(ctx, opt.Patience)
	defer cancel()
	return n.describe(look, ref, nil, opt.Peers)
}

// standing says in words what the ledger has about a block, and at which
// height it was certified. The content proves itself: a ledger that cannot be
// reached holds up nobody. It notes who announced the block.
func (n *Node) standing(ctx context.Context, b *blobstore.Block) (string, int64) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	found, err := n.light.Find(ctx, b.ID())
	if err == nil {
		n.noteBy(ctx, b, found.Record())
	}
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return "unknown to it", 0
	case err != nil:
		return "not reached", 0
	case found.Status == ledger.Certified:
		return found.Status.String(), found.Outcome.Height
	}
	return found.Status.String(), 0
}

// fill downloads any k rows of b and computes the rest.
func (n *Node) fill(ctx context.Context, b *blobstore.Block, opt FetchOptions, report Report, got *Fetched) error {
	if err := n.roomFor(ctx, b, erasure.AllPieces(b.Geometry().Pieces())); err != nil {
		return err
	}
	t, err := n.swarm.Add(n.face(b))
	if err != nil {
		return err
	}
	limited, cancel := n.patient(ctx, b, opt.Patience)
	single, err := n.fetchRows(limited, t, b, supplies{named: opt.Peers}, func(s swarm.Status) {
		got.Peers = max(got.Peers, s.Peers)
		report.to(fetchProgress(b, s))
	})
	s := t.Status()
	cause := context.Cause(limited)
	cancel()
	if err != nil {
		if errors.Is(cause, ErrStalled) {
			return stalled(b, s, opt.Patience)
		}
		return err
	}
	got.Read, got.Rows = s.Read+single, b.RowsAtHand()
	if err := b.Complete(ctx, report.bytes("decode")); err != nil {
		return fmt.Errorf("decode %s: %w", b.ID().Short(), err)
	}
	return nil
}

// stalled says why a fetch made no progress: no peers to ask, or too few rows
// among all of them.
func stalled(b *blobstore.Block, s swarm.Status, patience time.Duration) error {
	g, held := b.Geometry(), b.Held()
	err := ErrStalled
	if s.Peers > 0 && g.RowsIn(gather.Reachable(held, s)) < g.K() {
		err = ErrTooFewRows
	}
	rows := b.RowsAtHand()
	return fmt.Errorf("%w: %d of %d rows of %s, nothing new for %v; %s",
		err, rows, g.K(), b.ID().Short(), patience, gather.Waiting(g, held, rows, s))
}

func fetchProgress(b *blobstore.Block, s swarm.Status) Progress {
	g, rows := b.Geometry(), b.RowsAtHand()
	return Progress{
		Stage: "fetch", Done: int64(min(rows, g.K())), Total: int64(g.K()), Unit: "rows",
		Text: gather.Waiting(g, b.Held(), rows, s),
	}
}

// patient returns a context that ends with ErrStalled as its cause once no
// new row of b was held for the given time, or with traffic.ErrVolume.
func (n *Node) patient(ctx context.Context, b *blobstore.Block, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(min(time.Second, limit/4+1))
		defer tick.Stop()
		rows, since := b.RowsAtHand(), time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := n.traffic.Spent(); err != nil {
				cancel(err)
				return
			}
			if now := b.RowsAtHand(); now != rows {
				rows, since = now, time.Now()
			} else if time.Since(since) > limit {
				cancel(ErrStalled)
				return
			}
		}
	})
	return ctx, func() { cancel(context.Canceled); watch.Wait() }
}

// Holder is one node that keeps rows of a block, as it says itself.
type Holder struct {
	Peer      string `json:"peer"`
	Torrent   string `json:"torrent,omitempty"` // observed address and named port
	Custodian bool   `json:"custodian"`
	Rows      int    `json:"rows"`       // rows in the pieces it holds
	Owed      int    `json:"owed"`       // rows its custody groups owe
	ShareHeld bool   `json:"share_held"` // it holds all it owes
	Err       string `json:"error,omitempty"`
}

// Holders looks in the DHT for those who keep rows of a stored block and asks
// each what it holds. The second result is the number of distinct rows that
// those found hold together.
func (n *Node) Holders(ctx context.Context, ref Ref) ([]Holder, int, error) {
	id, err := n.Resolve(ref)
	if err != nil {
		return nil, 0, err
	}
	b, err := n.store.Block(id)
	if err != nil {
		return nil, 0, err
	}
	holders, reach := n.holders(ctx, b)
	return holders, b.Geometry().RowsIn(reach), nil
}

func sortHolders(hs []Holder) {
	slices.SortFunc(hs, func(a, b Holder) int {
		switch {
		case a.Peer < b.Peer:
			return -1
		case a.Peer > b.Peer:
			return 1
		}
		return 0
	})
}
