// Package blobstore keeps blocks on disk, in a folder that a person can read.
//
//	dir/index.db            bbolt: which pieces are held, notes, schema version
//	dir/blocks/<ID>/info    the info dictionary; its SHA-256 is the folder's name
//	dir/blocks/<ID>/proof   the proof vector, absent while unknown
//	dir/blocks/<ID>/layers  the piece hashes of both files
//	dir/blocks/<ID>/content the padded content, sparse
//	dir/blocks/<ID>/parity  the parity, sparse
//
// The bytes are specified in docs/spec/store.md, and why layers has a file of
// its own in docs/design/0003-layers-file.md.
//
// # Invariants
//
// A piece is held when the index says so, and the index says so only after the
// piece was read back, verified against the piece layers (and, when the proof
// is known, row by row against the proof), and fsynced. The order on every path
// is: verified, written, fsynced, indexed, acknowledged. A crash at any point
// loses nothing that was acknowledged, and a restart hashes nothing again but
// pieces that it cut off on their way. A
// held piece is immutable: only DropPieces and Delete remove it, and only damage
// puts it into quarantine, see Block.Quarantined.
//
// A block is whole when all its pieces are held and the block was checked
// clean: its content encodes to exactly its roots and its proof.
//
// The quota is a promise: space is reserved before it is written, for whole
// pieces and including what the file system needs to map sparse files.
//
// # Trust
//
// Callers may pass bytes from strangers: bundles and pieces are verified here.
// What is read back from disk is not trusted either: info, proof and layers
// verify themselves against the block's ID whenever they are read, Row and
// Complete verify the pieces that they use, and Scrub all that are held. ReadPieceAt does not, because the
// BitTorrent peer that asked will. The index is trusted for which pieces are
// held; when it is lost it is rebuilt by verifying every piece.
//
// # What it is not
//
// It is no cache and has no policy: what to keep, to fetch and to drop is the
// caller's. It does not talk to a network, and it is not shared: one process
// has a store at a time, guarded by the lock on index.db.
package blobstore
