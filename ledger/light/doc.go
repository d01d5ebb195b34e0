// Package light reads the ledger without running a node of the chain: the
// messages of /granary/light/1.0.0 and /granary/tx/1.0.0, the server over a node
// that has the chain, and the client.
//
// A client begins with something it trusts, the first validators or a
// checkpoint of the network file, and follows signatures from there: CometBFT's
// light client verification, which skips as far as a third of the power that is
// trusted signed what comes. A verified header commits to the head of the log;
// that head must be a continuation of the last one (RFC 6962 consistency), and
// every entry that is used must be in it (inclusion).
//
// # Invariants
//
// What Entry, Entries and Find return is proven, except what is called a hint.
// The trusted head never goes back and is on disk before Update returns.
//
// # Trust
//
// Providers are strangers. One honest provider of those asked is enough to
// notice that others keep something back or show another chain; all that a
// provider alone can do is to refuse, to be slow, and to be behind. One caught
// lying is not asked again. More than two thirds of the voting power together
// can show a client what they like; two chains with such signatures are
// reported as a fork, and the client stops. It keeps both, and hands on who signed
// both.
//
// What is so now, and that something is not there, the head proves: it commits to
// the state. That the network file is wrong no stranger decides, and that a
// transaction is refused no single provider.
//
// Formats are specified in docs/spec/light.md. This package does no networking:
// see Transport.
package light
