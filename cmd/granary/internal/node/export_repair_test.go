package node

import (
	"context"
	"time"

	"granary/blobstore"
	"granary/erasure"
)

// Rebuild rebuilds what n lacks of a share of b, from whom it finds.
func Rebuild(ctx context.Context, n *Node, b *blobstore.Block, owed erasure.PieceSet) error {
	return share{n, b, owed, nil}.Rebuild(ctx)
}

// FetchShare gets what n lacks of a share of b, from whom it finds.
func FetchShare(ctx context.Context, n *Node, b *blobstore.Block, owed erasure.PieceSet) error {
	return share{n, b, owed, nil}.Fetch(ctx, time.Minute)
}

// Stored returns a block that n stores.
func Stored(n *Node, id erasure.ID) (*blobstore.Block, error) { return n.store.Block(id) }
