// Package sampling says who owes which pieces of a block.
//
// It is for one rule, custody: every piece falls into one of 64 groups, and
// every node owes the pieces of a few groups, which follow from the network's
// chain ID and the node's own peer ID and from nothing else. So a new block
// needs no placement, no record in any table and no message, and a claim to be
// a custodian of a group is checked by recomputing it. The idea of custody by
// node ID, the list of groups growing without ever reordering, is that of
// Ethereum's PeerDAS (EIP-7594); the groups are of pieces, so that what a node
// owes is what BitTorrent moves.
//
// It is not for moving or finding anything: sampling/kad knows the network.
//
// Custody spreads load and is no proof of anything. Peer IDs can be ground
// until they fall into a chosen group, so nothing that must be sound may rest
// on it: what a sample shows, it shows whoever serves the row.
//
// The package is pure: no I/O, no clock, no goroutines. Every function is safe
// for concurrent use. The rule is specified, with vectors, in
// docs/spec/network.md.
package sampling
