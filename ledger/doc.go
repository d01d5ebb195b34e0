// Package ledger is for what a network agrees on about blocks. Today it holds
// the one message that needs no agreement yet: the Announcement, by which a
// publisher signs that a block exists and who can be asked for it.
//
// The ledger itself comes next: an append-only Merkle log (RFC 6962) of signed
// transactions whose fold is the state. Its announce transaction takes over
// from the Announcement: the same envelope and the same strict encoding, with
// further fields and another signing domain.
//
// # Invariants
//
// One message has one encoding: CBOR in the core deterministic form of RFC 8949
// section 4.2.1, and what is parsed is encoded again and compared, so whoever
// changes a byte changes the message. A signature covers the chain ID and the
// kind of message, so it is worth nothing on another chain or as anything else.
// The ID is never sent: everyone computes it from the info that it hashes.
//
// # Trust
//
// Every byte may come from a stranger, and work is spent in order of cost: size,
// encoding, values, signature. A valid announcement shows that the publisher
// said so, not that the block can be had.
//
// This package is pure: no I/O, no clock, no goroutines. Formats are specified
// in docs/spec/announcement.md.
package ledger
