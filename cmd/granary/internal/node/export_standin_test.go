package node

import (
	"granary/blobstore"
	"granary/erasure"
	"granary/sampling"
)

// StandFor has n keep these groups beside its own.
func StandFor(n *Node, groups sampling.GroupSet) { n.standFor(groups) }

// OwedBy is the pieces of b that n owes.
func OwedBy(n *Node, b *blobstore.Block) erasure.PieceSet { return n.owed(b) }
