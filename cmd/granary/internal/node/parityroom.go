package node

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"granary/blobstore"
	"granary/erasure"
)

// passingParity is parity of a block that is here for a while only.
type passingParity struct {
	b     *blobstore.Block
	since time.Time // zero: nobody asked for it
	bytes int64
}

// passingParity lists the parity that can be computed again and that nobody is
// at, in the order in which it is dropped.
func (n *Node) passingParity() []passingParity {
	n.parity.mu.Lock()
	since := maps.Clone(n.parity.since)
	n.parity.mu.Unlock()
	var all []passingParity
	for _, b := range n.store.Blocks() {
		if !b.HasContent() || n.busy(b.ID()) || n.isServedAnyway(b.ID()) {
			continue
		}
		if rows := b.Geometry().RowsIn(parityBut(b, n.owed(b))); rows > 0 {
			all = append(all, passingParity{b, since[b.ID()], int64(rows) * erasure.RowSize})
		}
	}
	slices.SortStableFunc(all, func(a, b passingParity) int { return a.since.Compare(b.since) })
	return all
}

// spareParity drops parity that can be computed again, until need bytes are
// free, and returns how many are. The caller holds dropping.
func (n *Node) spareParity(ctx context.Context, need int64, keep erasure.ID) (free int64, err error) {
	if free, err = n.store.Free(); err != nil || n.parity == nil || free >= need {
		return free, err
	}
	for _, p := range n.passingParity() {
		if free >= need {
			break
		}
		if p.b.ID() == keep {
			continue
		}
		if err := n.dropPassing(ctx, p.b); err != nil {
			return 0, err
		}
		if free, err = n.store.Free(); err != nil {
			return 0, err
		}
	}
	return free, nil
}

// boundParity drops parity that can be computed again until all of b's is within
// the bound as well.
func (n *Node) boundParity(ctx context.Context, b *blobstore.Block) error {
	n.dropping.Lock()
	defer n.dropping.Unlock()
	total := b.Geometry().PaddedLength()
	all := slices.DeleteFunc(n.passingParity(), func(p passingParity) bool { return p.b.ID() == b.ID() })
	for _, p := range all {
		total += p.bytes
	}
	for _, p := range all {
		if total <= n.parity.most {
			break
		}
		if err := n.dropPassing(ctx, p.b); err != nil {
			return err
		}
		total -= p.bytes
	}
	return nil
}

func (n *Node) dropPassing(ctx context.Context, b *blobstore.Block) error {
	if err := n.parity.dropNow(ctx, b, n.owed(b)); err != nil && !errors.Is(err, blobstore.ErrNotFound) {
		return err
	}
	return nil
}

// dropParity drops parity that was here long enough, now and then, until ctx ends.
func (n *Node) dropParity(ctx context.Context) {
	every := min(time.Minute, n.parity.stay)
	for {
		blocks := n.store.Blocks()
		n.parity.forget(blocks)
		for _, b := range blocks {
			if n.busy(b.ID()) || n.isServedAnyway(b.ID()) {
				continue // it is being fetched, or announced
			}
			if err := n.parity.drop(ctx, b, n.owed(b)); err != nil && ctx.Err() == nil {
				n.log.Warn("parity stays", "err", err)
			}
			if n.parity.wasRefused(b.ID()) {
				_ = n.seed(b) // it is claimed no more, or again
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}
