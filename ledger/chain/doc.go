// Package chain runs the ledger on a chain: a CometBFT v0.40.0 node inside this
// process that orders transactions, and the ledger's state over what it ordered.
// With a consensus key the node is a validator, without one it is a full node,
// which checks everything and votes on nothing.
//
// The consensus engine is theirs, untouched. Ours is the application, and it is
// a translation: what a transaction may do, and what follows from it, package
// ledger decides. This package knows no blocks of content: fetching, checking
// and attesting them is for whoever reads Updates and calls Submit.
//
// # Invariants
//
// The state is written once per height, in one transaction of one file, together
// with the height that it belongs to; on every start it tells the engine which
// height that is, and the engine gives it what is missing. So a process can be
// killed at any step: the chain continues with the same head. The last height,
// round and step that a validator signed are on disk before the signature
// leaves. Whoever copies an old directory into place breaks that.
//
// The head never depends on height or time, because the engine makes a block
// whenever the head moves: an idle network makes one block per heartbeat.
//
// Nothing is pruned: a network with nothing but pruned nodes cannot be joined.
//
// # Trust
//
// Peers of the consensus port are strangers who can send anything; what they
// send reaches the state only as transactions, which it checks, or as blocks,
// which more than two thirds of the voting power signed. RPC, metrics and
// profiles of the engine are off. It does register profiles on
// http.DefaultServeMux when it is linked: never serve that.
//
// The light protocol over what is here is package ledger/light.
package chain
