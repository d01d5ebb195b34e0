// Package sampling says who owes which pieces of a block, and judges from a few
// random rows whether a block is available.
//
// Custody is one rule: every piece falls into one of 64 groups, and every node
// owes the pieces of a few groups, which follow from the network's chain ID and
// the node's own peer ID and from nothing else. So a new block needs no
// placement, no record in any table and no message, and a claim to be a
// custodian of a group is checked by recomputing it. The idea of custody by
// node ID, the list of groups growing without ever reordering, is that of
// Ethereum's PeerDAS (EIP-7594); the groups are of pieces, so that what a node
// owes is what BitTorrent moves.
//
// The Sampler draws rows, asks for each through a Fetcher of holders that a
// Holders names, and comes to a Verdict. Its invariants:
//
//   - The rows are drawn before the first request and never redrawn. What fails
//     is asked for again, never replaced.
//   - Only verified rows count; a row that has not come verified is missing.
//   - Unavailable is said only where the reader's own line is not the cause as
//     far as it can tell; what cannot be told apart is Inconclusive.
//   - Memory is bounded: the rows of one sample, or a block of 8 MiB twice.
//   - Judge waits for every goroutine it starts.
//
// It is not for moving or finding anything: sampling/kad knows the network. Nor
// does it know the ledger: that a block was announced, and how fresh the head
// is, its caller says.
//
// Trust: everything a Fetcher brings may be a lie, and passes the Verifier or
// is worth nothing. Holders may name anybody. Custody spreads load and is no
// proof of anything: peer IDs can be ground until they fall into a chosen
// group, so nothing that must be sound rests on it; what a sample shows, it
// shows whoever serves the row.
//
// Custody is specified, with vectors, in docs/spec/protocols.md; the test, its
// verdicts and what they mean in docs/spec/sampling.md.
package sampling
