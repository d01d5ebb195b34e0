// Package ledger is for what a network agrees on about blocks: who published
// them, who checked them, how long they are kept, and what each node owes.
//
// The ledger is a log, and the state is its fold. Signed transactions (Tx) that
// the rules accept become entries (Entry) of an append-only Merkle log after
// RFC 6962, followed by what is derived from them: a block certified by more
// than 2/3 of the voting power, an announcement expired, a change enacted. State keeps the log and
// what follows from it in a KV and applies one height after another; Head is what
// the chain's headers commit to, and VerifyValue shows by it what is so now: whose a
// name is, what an account has, who the validators are. Mempool foresees what Apply
// will say. Genesis begins a network, and Share says which pieces a validator keeps.
//
// It is not for agreeing on the order of transactions: ledger/chain does that
// with CometBFT, and ledger/light follows it without running it. It fetches no
// block and judges none: a validator's node does, before it signs.
//
// # Invariants
//
// The same genesis and the same heights give the same bytes on every node: no
// order of a map matters, no clock is read, and a transaction that is refused leaves
// nothing behind. The log alone gives the same state again, but for deadlines.
//
// One value has one encoding: CBOR in the core deterministic form of RFC 8949
// section 4.2.1, and what is parsed is encoded again and compared. A signature
// covers the chain ID, the nonce and all that is said, so it counts once and on
// one network. An ID is believed only if it follows from the fields beside it.
//
// A head never moves without an entry, since an application hash that moves in
// an idle network would make the engine produce heights for ever.
//
// # Trust
//
// Every byte may come from a stranger, and work is spent in order of cost: size,
// form, balance, signature. Less than 1/3 of the voting power may lie. A
// certificate then means that an honest validator had the whole block, found it
// clean, and that honest ones together keep enough of it. It does not show that
// the block can be had now: sampling does.
//
// This package is pure: no I/O, no clock, no goroutines. Every byte is specified
// in docs/spec/ledger.md, and compared with a
// slow reference written from that text.
package ledger
