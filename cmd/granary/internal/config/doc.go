// Package config knows the files a home consists of and where each setting
// comes from.
//
// A home is one folder:
//
//	config.toml     settings (all optional)
//	network.json    the network the home belongs to
//	keys/node       the libp2p identity, an ed25519 seed in hex
//	keys/publisher  the key that signs announcements, likewise
//	keys/consensus  a validator's key for the chain's blocks
//	keys/attest     a validator's key for attestations
//	ledger/         the chain of a validator, the trust store of any node
//	blocks/         what blobstore keeps, with index.db beside it
//	node.sock       where a running node answers
//
// Settings come from flags, then GRANARY_* variables, then config.toml, then
// defaults. Unknown keys are errors: a typo must not silently lift a cap.
//
// Trust: the home's owner is trusted; keys are readable by the owner only.
package config
