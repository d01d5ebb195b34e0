package node

import "granary/erasure"

// UnlessHeld drops a block unless somebody holds it.
func UnlessHeld(n *Node, id erasure.ID, drop func() error) error { return n.unlessHeld(id, drop) }

// Holdable is a node whose blocks can be held, and nothing else.
func Holdable() *Node { return &Node{fetching: make(map[erasure.ID]int)} }
