// Package wire is what the request protocols of sampling/kad put on a stream:
// frames, and in them requests and replies.
//
// It is for encoding and, above all, for decoding: everything it reads comes
// from peers and is untrusted. Each message has exactly one encoding and a
// length limit that its type knows; anything else is ErrMalformed. Nothing is
// allocated beyond the limit, and no input panics.
//
// It is not for the gossip and DHT messages, which are libp2p's own.
//
// The format is CBOR (RFC 8949, core deterministic) behind a varint, specified
// with vectors in docs/spec/protocols.md. The package does no I/O of its own and
// imports no libp2p, so that it builds and fuzzes in seconds.
package wire
