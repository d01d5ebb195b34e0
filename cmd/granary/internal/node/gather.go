package node

import (
	"context"
	"errors"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/blobstore"
	"granary/cmd/granary/internal/gather"
	"granary/erasure"
	"granary/swarm"
)

// errEnough ends a download: what is wanted is here.
var errEnough = errors.New("enough rows are here")

// fetchRows makes sure that any k rows of b are at hand: by BitTorrent, and row
// by row, or from web seeds, what BitTorrent cannot give. It returns how many
// bytes the latter were.
func (n *Node) fetchRows(ctx context.Context, t *swarm.Torrent, b *blobstore.Block, s supplies, tell func(swarm.Status)) (int64, error) {
	ctx, enough := context.WithCancelCause(ctx)
	g := gather.NewRows(b, func(ctx context.Context, p peer.ID, row int) ([]byte, []erasure.Root, error) {
		return n.host.Row(ctx, p, b.ID(), row)
	})
	s.heard = g.Heard
	done := n.supply(ctx, t, b.ID(), s)
	var wg sync.WaitGroup
	wg.Go(func() {
		if g.Run(ctx, t.Status) == nil {
			enough(errEnough)
		}
	})
	webRead := n.webSeeds(ctx, &wg, b, erasure.PieceSet{}, t.Status, enough)
	err := t.FetchAny(ctx, tell)
	if errors.Is(err, errEnough) {
		err = nil
	}
	enough(context.Canceled)
	wg.Wait()
	done()
	return g.Read() + webRead(), err
}

// webSeeds runs a gather.Web for each web seed that the owner named, in wg. want is as there.
// enough is called with errEnough once what is wanted is at hand, or with the error
// when nothing can be stored. read tells how many bytes came, when all have ended.
func (n *Node) webSeeds(ctx context.Context, wg *sync.WaitGroup, b *blobstore.Block, want erasure.PieceSet, offered func() swarm.Status, enough context.CancelCauseFunc) (read func() int64) {
	var all []*gather.Web
	for _, base := range n.cfg.WebSeeds {
		w := gather.NewWeb(n.swarm.HTTP(), base, b, want, n.log)
		all = append(all, w)
		wg.Go(func() {
			switch err := w.Run(ctx, offered); {
			case err == nil:
				enough(errEnough)
			case errors.Is(err, gather.ErrStore):
				enough(err)
			}
		})
	}
	return func() (sum int64) {
		for _, w := range all {
			sum += w.Read()
		}
		return sum
	}
}

// fetchPieces gets pieces of b by BitTorrent, and from web seeds those that no peer
// has.
func (n *Node) fetchPieces(ctx context.Context, t *swarm.Torrent, b *blobstore.Block, want erasure.PieceSet) error {
	ctx, enough := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	n.webSeeds(ctx, &wg, b, want, t.Status, enough)
	err := t.Fetch(ctx, want)
	if errors.Is(err, errEnough) {
		err = nil
	}
	enough(context.Canceled)
	wg.Wait()
	return err
}
