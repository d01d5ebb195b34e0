// Package swarm moves pieces of blocks between peers by BitTorrent v2.
//
// A block is an ordinary v2-only torrent (BEP 3, 9, 10, 52), so any stock
// client can seed to us and fetch from us. What is ours is knowing that any k
// of a block's 2k rows are enough: FetchAny chooses, from what the connected
// peers have, which pieces to ask for, and chooses anew when peers come, leave
// or stall. The engine is github.com/anacrolix/torrent; its defects that
// matter, and how they are kept out, are described where they are met.
//
// It is not for finding peers (package sampling does), nor for storing (the
// caller's Block does), nor for decoding: a fetch ends when the block holds
// enough rows.
//
// Invariants:
//   - A torrent's info dictionary and piece layers come from an erasure.Bundle
//     and are handed to the engine whole; nothing is re-hashed at start.
//   - Bytes are held only when Block.CommitPiece has said so.
//   - Nothing is fetched that no running Fetch or FetchAny wants.
//   - t.mu of a Torrent is innermost: the engine calls us with its own lock
//     held, so we never call the engine with t.mu held.
//
// Trust: every peer is a stranger. Bytes are checked against the piece layers
// before they are committed, and a peer that sends wrong ones is banned by its
// IP address. No address, tracker, web seed or URL that a stranger names is
// ever followed; peers come from AddPeers, and from what Config.Sources names.
// docs/spec/swarm.md lists what is spoken on the wire and what is refused.
package swarm
