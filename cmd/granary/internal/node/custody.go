package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/blobstore"
	"granary/erasure"
	"granary/ledger"
	"granary/sampling/kad"
)

const (
	// maxPending bounds the padded bytes of announced blocks whose share is
	// still being fetched.
	maxPending = 1 << 30

	noteAnnouncement = "announcement" // an announcement we accepted, as it came
	notePublished    = "published"    // an announcement we signed

	// reannounceEvery is how often a publisher repeats an announcement, for
	// custodians that joined since.
	reannounceEvery = time.Minute

	// custodyPatience is how long a share may make no progress before its
	// slot is given to other blocks; the next announcement takes it up again.
	custodyPatience = 10 * time.Minute
)

// checkAnnouncement decides what is relayed: well-formed, for this chain,
// signed by one of the network's publishers.
func (n *Node) checkAnnouncement(msg []byte) kad.Judgement {
	a, err := ledger.ParseAnnouncement(n.cfg.Chain, msg)
	if err != nil || n.cfg.MayPublish == nil || !n.cfg.MayPublish(a.Publisher) {
		return kad.Reject
	}
	return kad.Accept
}

// heard takes up an announcement that checkAnnouncement let pass.
func (n *Node) heard(from peer.ID, msg []byte) {
	if !n.cfg.Custodian || from == n.host.ID() {
		return
	}
	a, err := ledger.ParseAnnouncement(n.cfg.Chain, msg)
	if err != nil {
		return
	}
	id := a.Info.ID()
	if !n.admit(id, 2*a.Info.Geometry().PaddedLength()) {
		n.log.Debug("announcement deferred", "block", id.Short())
		return // busy with it already, or too much pending: it will be repeated
	}
	n.background(func(ctx context.Context) {
		defer n.dismiss(id)
		b, err := n.accept(ctx, a, from, msg)
		if err == nil {
			err = n.fetchShare(ctx, b, a.Peers)
		}
		if err != nil && ctx.Err() == nil {
			n.log.Warn("custody not complete", "block", id.Short(), "err", err)
		}
	})
}

// admit reserves room for a block among the pending ones.
func (n *Node) admit(id erasure.ID, size int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	var pending int64
	for _, bytes := range n.custody {
		pending += bytes
	}
	if _, busy := n.custody[id]; busy || pending+size > maxPending {
		return false
	}
	n.custody[id] = size
	return true
}

func (n *Node) dismiss(id erasure.ID) {
	n.mu.Lock()
	delete(n.custody, id)
	n.mu.Unlock()
}

// accept stores an announced block's description, asked of the relaying peer,
// of those the announcement names, and of whoever else holds it.
func (n *Node) accept(ctx context.Context, a ledger.Announcement, from peer.ID, msg []byte) (*blobstore.Block, error) {
	id := a.Info.ID()
	b, err := n.store.Block(id)
	if errors.Is(err, blobstore.ErrNotFound) {
		look, cancel := context.WithTimeout(ctx, custodyPatience)
		defer cancel()
		b, err = n.describe(look, Ref{ID: id}, append(peerIDs(a.Peers), from), nil)
	}
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", id.Short(), err)
	}
	if !bytes.Equal(b.Note(noteAnnouncement), msg) {
		if err := b.SetNote(ctx, noteAnnouncement, msg); err != nil {
			return nil, err
		}
	}
	return b, n.seed(b)
}

// keepShare takes up the custody of a stored block again.
func (n *Node) keepShare(b *blobstore.Block, peers [][]byte) {
	if b.Held().Contains(n.owed(b)) || !n.admit(b.ID(), 2*b.Geometry().PaddedLength()) {
		return
	}
	n.background(func(ctx context.Context) {
		defer n.dismiss(b.ID())
		if err := n.fetchShare(ctx, b, peers); err != nil && ctx.Err() == nil {
			n.log.Warn("custody not complete", "block", b.ID().Short(), "err", err)
		}
	})
}

// fetchShare gets the pieces we owe by BitTorrent. When they are k rows or
// more, any k rows are fetched and the rest is computed.
func (n *Node) fetchShare(ctx context.Context, b *blobstore.Block, peers [][]byte) error {
	owed := n.owed(b)
	if b.Held().Contains(owed) {
		return nil
	}
	t, err := n.swarm.Add(b)
	if err != nil {
		return err
	}
	began := time.Now()
	defer n.supply(ctx, t, b.ID(), peerIDs(peers), nil)()
	ctx, cancel := patient(ctx, b, custodyPatience)
	defer cancel()
	if b.Geometry().RowsIn(owed) >= b.Geometry().K() {
		if err = t.FetchAny(ctx, nil); err == nil {
			err = b.Complete(ctx, nil)
		}
	} else {
		err = t.Fetch(ctx, owed)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	n.log.Info("share held", "block", b.ID().Short(), "pieces", b.Held().Count(), "dur", time.Since(began))
	return n.seed(b)
}

// reannounce repeats our own announcement until the node closes.
func (n *Node) reannounce(ctx context.Context, id erasure.ID, msg []byte) {
	tick := time.NewTicker(reannounceEvery)
	defer tick.Stop()
	for {
		if err := n.host.Announce(ctx, msg); err != nil && ctx.Err() == nil {
			n.log.Warn("announcement not sent", "block", id.Short(), "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func peerIDs(raw [][]byte) []peer.ID {
	var ids []peer.ID
	for _, b := range raw {
		if p, err := peer.IDFromBytes(b); err == nil {
			ids = append(ids, p)
		}
	}
	return ids
}
