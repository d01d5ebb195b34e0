package node

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"sync"
	"time"

	"granary/blobstore"
	"granary/erasure"
	"granary/ledger"
	"granary/sampling"
	"granary/sampling/kad"
)

// PublishOptions say what publishing waits for.
type PublishOptions struct {
	Announced bool          // return once the announcement is sent
	Patience  time.Duration // give up after so long without news; 0: one minute
}

// Published tells how a block was handed to the network.
type Published struct {
	Block   *blobstore.Block
	Encoded time.Duration // from the first byte to fsynced rows
	Holders []Holder      // custodians that hold their share; empty with Announced
}

// pollCustody is how often custodians are asked what they hold.
const pollCustody = 300 * time.Millisecond

// Publish stores what r holds as a block named name, signs and sends its
// announcement, and waits until every live custodian holds its share. Before
// it returns without an error all rows are fsynced here; they are seeded and
// announced again for as long as the node runs.
//
// Errors: ErrNotPublisher, erasure.ErrName, erasure.ErrLength,
// blobstore.ErrQuota, ErrNoCustodians (the block is stored and announced).
func (n *Node) Publish(ctx context.Context, name string, r io.Reader, opt PublishOptions, report Report) (Published, error) {
	if n.cfg.Publisher == nil || n.cfg.MayPublish == nil ||
		!n.cfg.MayPublish(n.cfg.Publisher.Public().(ed25519.PublicKey)) {
		return Published{}, ErrNotPublisher
	}
	began := time.Now()
	b, err := n.store.Import(ctx, name, r, report.bytes("encode"))
	if err != nil {
		return Published{}, fmt.Errorf("store %q: %w", name, err)
	}
	p := Published{Block: b, Encoded: time.Since(began)}
	if err := n.seed(b); err != nil {
		return p, err
	}
	if err := n.announce(ctx, b); err != nil {
		return p, err
	}
	report.to(Progress{Stage: "announce", Done: 1, Total: 1, Unit: "announcement"})
	if opt.Announced {
		return p, nil
	}
	p.Holders, err = n.awaitCustody(ctx, b, opt, report)
	return p, err
}

// announce signs b's announcement, keeps it, and repeats it from now on.
func (n *Node) announce(ctx context.Context, b *blobstore.Block) error {
	a := ledger.Announcement{
		Info:      b.Bundle().Info,
		Peers:     [][]byte{[]byte(n.host.ID())},
		Publisher: n.cfg.Publisher.Public().(ed25519.PublicKey),
	}
	msg, err := a.Sign(n.cfg.Chain, n.cfg.Publisher)
	if err != nil {
		return fmt.Errorf("sign announcement: %w", err)
	}
	known := b.Note(notePublished) != nil
	if err := b.SetNote(ctx, notePublished, msg); err != nil {
		return err
	}
	if err := n.host.Announce(ctx, msg); err != nil {
		return fmt.Errorf("announce %s: %w", b.ID().Short(), err)
	}
	if !known {
		n.background(func(ctx context.Context) { n.reannounce(ctx, b.ID(), msg) })
	}
	return nil
}

// awaitCustody asks the custodians found in the DHT until all that answer
// hold their share.
func (n *Node) awaitCustody(ctx context.Context, b *blobstore.Block, opt PublishOptions, report Report) ([]Holder, error) {
	if opt.Patience == 0 {
		opt.Patience = defaultPatience
	}
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
