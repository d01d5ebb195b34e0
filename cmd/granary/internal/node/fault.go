package node

import (
	"context"
	"errors"

	"granary/blobstore"
	"granary/erasure"
	"granary/sampling"
)

// ErrFault reports a fault that was asked of a node outside a devnet.
var ErrFault = errors.New("faults are for devnets only")

// Withhold drops the pieces of a block that fall into the groups, and fetches
// none of them again: the fault of a holder that goes back on its word. It is
// for devnets only.
func (n *Node) Withhold(ctx context.Context, id erasure.ID, groups sampling.GroupSet) error {
	if !n.cfg.Devnet {
		return ErrFault
	}
	b, err := n.store.Block(id)
	if errors.Is(err, blobstore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	drop := erasure.NewPieceSet(b.Geometry().Pieces())
	for p := range b.Geometry().Pieces() {
		if groups&(1<<sampling.GroupOf(id, p)) != 0 {
			drop.Add(p)
		}
	}
	if err := b.DropPieces(ctx, drop); err != nil {
		return err
	}
	t, err := n.swarm.Add(n.face(b))
	if err != nil {
		return err
	}
	t.Refresh()
	n.host.StopProvidingBlock(id)
	return nil
}
