package node

import (
	"granary/blobstore"
	"granary/cmd/granary/internal/deny"
	"granary/erasure"
)

// Needy chooses the pieces that fewest others hold.
var Needy = needy

// MayHelp is the blocks in store of which a node with a deny list would take in
// pieces.
func MayHelp(store *blobstore.Store, denied *deny.File) (ids []erasure.ID) {
	n := &Node{Shelf: NewShelf(store, 0), deny: denied}
	for _, b := range n.mayHelp() {
		ids = append(ids, b.ID())
	}
	return ids
}
