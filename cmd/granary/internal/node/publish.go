package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"granary/blobstore"
	"granary/cmd/granary/internal/deny"
	"granary/erasure"
	"granary/ledger"
	"granary/ledger/light"
	"granary/sampling"
	"granary/sampling/kad"
)

// PublishOptions say how to publish; the zero value works.
type PublishOptions struct {
	Wait     Wait
	Keep     int           // days that custodians and validators owe the block; 0: DefaultKeep
	Patience time.Duration // give up after so long without news; 0: one minute
	Size     int64         // bytes of content, if known: room is made for them first; 0: not known

	Namespace string // a name that the publisher owns; empty: the publisher's key
}

// DefaultKeep is for how many days a block is published unless said otherwise.
const DefaultKeep = 30

// Wait is what publishing waits for.
type Wait string

// What publishing can wait for.
const (
	WaitAnnounced Wait = "announced" // the announcement is in the ledger
	WaitCertified Wait = "certified" // more than two thirds of the power attested the block; the default
	WaitCustody   Wait = "custody"   // and every live custodian holds its share
)

// Published tells how a block was handed to the network.
type Published struct {
	Block   *blobstore.Block
	Encoded time.Duration // from the first byte to fsynced rows
	Found   light.Found   // what the ledger has
	Took    time.Duration // from the announcement's submission to its certificate
	Paid    int64         // credits; 0 if it was announced before
	Holders []Holder      // custodians that hold their share; only with WaitCustody
}

// pollCustody is how often custodians are asked what they hold, and the
// ledger how far a block is.
const pollCustody = 200 * time.Millisecond

// Publish stores what r holds as a block named name, announces it in the
// ledger, and waits as told. Before it returns without an error all rows are
// fsynced here; they are seeded for as long as the node runs.
//
// Errors: erasure.ErrName, erasure.ErrLength, blobstore.ErrQuota, the ledger's
// refusals, ErrNotCertified and ErrNoCustodians (the block is stored).
func (n *Node) Publish(ctx context.Context, name string, r io.Reader, opt PublishOptions, report Report) (Published, error) {
	if n.cfg.Publisher == nil {
		return Published{}, errors.New("this node has no publisher key")
	}
	if err := n.traffic.Spent(); err != nil {
		return Published{}, err
	}
	if opt.Patience == 0 {
		opt.Patience = defaultPatience
	}
	if opt.Keep == 0 {
		opt.Keep = DefaultKeep
	}
	began := time.Now()
	if g, err := erasure.NewGeometry(opt.Size); err == nil {
		if err := n.makeRoom(ctx, blobstore.Cost(g, erasure.AllPieces(g.Pieces())), erasure.ID{}); err != nil {
			return Published{}, fmt.Errorf("store %q: %w", name, err)
		}
	}
	b, err := n.store.Import(ctx, name, r, report.bytes("encode"))
	if err == nil {
		err = b.SetNote(ctx, noteOwn, []byte(ReasonPublished))
	}
	if err != nil {
		return Published{}, fmt.Errorf("store %q: %w", name, n.explained(err))
	}
	p := Published{Block: b, Encoded: time.Since(began)}
	if l := n.deny.List(); l.Denies(b.ID(), ledger.KeyOf(n.cfg.Publisher), opt.Namespace) {
		return p, fmt.Errorf("%w: %s is stored, and not announced", deny.ErrDenied, b.ID())
	}
	if err := n.seed(b); err != nil {
		return p, err
	}
	done, err := n.serveAnyway(b)
	if err != nil {
		return p, err
	}
	defer done()
	began = time.Now()
	if p.Paid, err = n.announce(ctx, b, opt); err != nil {
		return p, err
	}
	p.Found, err = n.awaitCertificate(ctx, b.ID(), opt, report)
	p.Took = time.Since(began)
	if err != nil || opt.Wait != WaitCustody {
		return p, err
	}
	p.Holders, err = n.awaitCustody(ctx, b, opt, report)
	return p, err
}

// announce submits the block's record to the ledger, unless the ledger has it
// from us and it still awaits its certificate, and notes by whom it is announced.
// It returns what was paid for it.
func (n *Node) announce(ctx context.Context, b *blobstore.Block, opt PublishOptions) (paid int64, err error) {
	key := ledger.KeyOf(n.cfg.Publisher)
	ctx, cancel := context.WithTimeout(ctx, opt.Patience)
	defer cancel()
	if err := n.synced(ctx); err != nil {
		return 0, err
	}
	found, err := n.light.Find(ctx, b.ID())
	if err == nil && found.Status == ledger.Pending && found.Record().Publisher == key {
		n.noteBy(ctx, b, found.Record())
		return 0, nil
	}
	r := ledger.Record{
		Info: b.Bundle().Info, Keep: uint32(opt.Keep), Namespace: opt.Namespace, Peers: []ledger.PeerID{ledger.PeerID(n.host.ID())},
	}
	tx, _, err := n.submit(ctx, n.cfg.Publisher, ledger.Tx{Kind: ledger.KindAnnounce, Record: r})
	if err != nil {
		return 0, fmt.Errorf("announce %s, which stays stored here: %w", b.ID().Short(), err)
	}
	r.Publisher = key
	n.noteBy(ctx, b, r)
	return tx.Pay, nil
}

// synced waits until the light client has a fresh verified head. What time may
// mend is waited for: providers not found yet, a chain before its first block.
func (n *Node) synced(ctx context.Context) error {
	for {
		st, err := n.light.Update(ctx)
		n.setLedger(st, err)
		if err == nil {
			return nil
		}
		for _, final := range []error{light.ErrForked, light.ErrCheckpoint, light.ErrClock} {
			if errors.Is(err, final) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pollCustody):
		}
	}
}

// awaitCertificate follows a block in the ledger until it is where opt wants
// it, or expires.
func (n *Node) awaitCertificate(ctx context.Context, id erasure.ID, opt PublishOptions, report Report) (light.Found, error) {
	var seen light.Found
	since := time.Now()
	for {
		found, err := n.light.Find(ctx, id)
		switch {
		case ctx.Err() != nil:
			return seen, ctx.Err()
		case err != nil:
			n.log.Debug("block not found in the ledger yet", "block", id.Short(), "err", err)
		default:
			if found.Power != seen.Power || found.Status != seen.Status {
				since = time.Now()
			}
			seen = found
			report.to(Progress{
				Stage: "certify", Done: found.Power, Total: found.Total, Unit: "of the voting power",
				Text: fmt.Sprintf("announced at height %d", found.Announcement.Height),
			})
			if found.Status == ledger.Certified || opt.Wait == WaitAnnounced {
				return found, nil
			}
			if found.Status == ledger.Expired {
				return found, fmt.Errorf("%w: %d of %d voting power attested %s before it expired at height %d",
					ErrNotCertified, found.Power, found.Total, id.Short(), found.Outcome.Height)
			}
		}
		if time.Since(since) > opt.Patience {
			return seen, fmt.Errorf("%w: no news of %s for %v", ErrNotCertified, id.Short(), opt.Patience)
		}
		select {
		case <-ctx.Done():
			return seen, ctx.Err()
		case <-time.After(pollCustody):
		}
	}
}

// awaitCustody asks the custodians found in the DHT until all that answer
// hold their share.
func (n *Node) awaitCustody(ctx context.Context, b *blobstore.Block, opt PublishOptions, report Report) ([]Holder, error) {
	rows, since := -1, time.Now()
	for {
		holders, _ := n.holders(ctx, b)
		var live, done []Holder
		have, owed := 0, 0
		for _, h := range holders {
			if !h.Custodian || h.Err != "" {
				continue
			}
			live = append(live, h)
			have, owed = have+min(h.Rows, h.Owed), owed+h.Owed
			if h.ShareHeld {
				done = append(done, h)
			}
		}
		report.to(Progress{
			Stage: "custody", Done: int64(have), Total: int64(owed), Unit: "rows",
			Text: fmt.Sprintf("%d of %d custodians hold their share", len(done), len(live)),
		})
		if len(live) > 0 && len(done) == len(live) {
			return done, nil
		}
		if have != rows {
			rows, since = have, time.Now()
		} else if time.Since(since) > opt.Patience {
			return done, fmt.Errorf("%w: %d of %d of them after %v without news; %s stays announced",
				ErrNoCustodians, len(done), len(live), opt.Patience, b.ID().Short())
		}
		select {
		case <-ctx.Done():
			return done, ctx.Err()
		case <-time.After(pollCustody):
		}
	}
}

// Custodians looks up every group key in the DHT and returns the peers found
// whose claims hold.
func (n *Node) Custodians(ctx context.Context) ([]string, error) {
	found, err := n.host.Custodians(ctx)
	if err != nil {
		return nil, fmt.Errorf("look up custodians: %w", err)
	}
	ids := []string{}
	for _, h := range found {
		ids = append(ids, h.Peer.String())
	}
	return ids, nil
}

// holders asks everybody the DHT names for b, once, and returns their answers
// and the union of the pieces they hold.
func (n *Node) holders(ctx context.Context, b *blobstore.Block) ([]Holder, erasure.PieceSet) {
	var (
		mu    sync.Mutex
		all   []Holder
		reach = erasure.NewPieceSet(b.Geometry().Pieces())
		wg    sync.WaitGroup
		slots = make(chan struct{}, maxAsking)
	)
	for found := range n.host.FindHolders(ctx, b.ID()) {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			h, held := n.ask(ctx, b, found)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, h)
			if held.Cap() == reach.Cap() {
				reach.Union(held)
			}
		})
	}
	wg.Wait()
	sortHolders(all)
	return all, reach
}

func (n *Node) ask(ctx context.Context, b *blobstore.Block, found kad.Holder) (Holder, erasure.PieceSet) {
	g := b.Geometry()
	h := Holder{Peer: found.Peer.String()}
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	hello, err := n.host.Hello(ctx, found.Peer, b.ID())
	if err != nil {
		h.Err = err.Error()
		return h, erasure.PieceSet{}
	}
	if hello.Torrent.IsValid() {
		h.Torrent = hello.Torrent.String()
	}
	held, err := erasure.ParsePieceSet(g.Pieces(), hello.Held)
	if err != nil {
		held = erasure.NewPieceSet(g.Pieces())
	}
	h.Rows = g.RowsIn(held)
	if h.Custodian = hello.Custodian; h.Custodian {
		owed := sampling.Owed(b.ID(), g, hello.Groups)
		h.Owed, h.ShareHeld = g.RowsIn(owed), held.Contains(owed)
	}
	return h, held
}
