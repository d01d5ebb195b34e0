// Package kad connects a node to the others over libp2p: it finds who holds a
// block, asks them for rows and descriptions, and spreads announcements.
//
// It is for three things, on one Host. A Kademlia DHT (Maymounkov and Mazières,
// 2002; libp2p's kad-dht) keeps one standing provider key per custody group
// and custodian, so that a new block costs no DHT operation, and one key per
// block for those who hold it off the rule. Three request protocols,
// /granary/hello, /granary/block and /granary/row, tell what a peer holds,
// describe a block, and hand out single rows; others, each a Service, are
// carried for the packages that their messages belong to. Gossip (gossipsub)
// carries announcements, of which the node's check says what they are worth.
//
// It is not for bulk transfer, which is BitTorrent's (package swarm), not for
// storing anything, and it draws no conclusions: whether a block is available
// is for the sampler to say.
//
// Invariants: a claim to be a custodian counts only where sampling.Custody
// confirms it, and a Bundle only where it hashes to the ID asked for. Busy is
// an answer, never a reset, and is given before any disk is touched. Every
// message is length-limited and every read and write has a deadline.
//
// Trust boundary: everything here that comes from a peer is untrusted, be it a
// provider record, a hello or an announcement; connections are authenticated,
// so a peer ID and the observed IP address of its connection are facts. Rows
// are returned as received: the caller verifies them with erasure.Verifier.
//
// Wire formats, keys, topics and limits are specified in docs/spec/protocols.md.
package kad
