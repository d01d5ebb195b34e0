// Package erasure turns content into a block and back: rows of an erasure
// code, their Merkle trees, the proof vector that ties the two together, and
// the ID under which all of it is one BitTorrent v2 torrent. It also decides
// which rows to sample, and what their absence means.
//
// It is not for moving, storing or announcing blocks. It knows no peer, disk
// or clock, reads and writes through io.ReaderAt and io.WriterAt only, and has
// no goroutine that outlives a call.
//
// Every byte is specified in docs/spec/block.md and has test vectors in
// testdata/vectors. The invariants:
//
//   - The ID is the SHA-256 of the info dictionary, which fixes length, name,
//     both roots and the proof vector. Nothing is keyed by a root.
//   - A row is verified if its Merkle path and its combination are right; see
//     [Verifier]. Any K verified rows give the same content.
//   - A block is clean if encoding its content again gives the same ID; see
//     [CheckClean]. Verified rows of an unclean block exist only if its
//     publisher lied, and only then.
//
// The trust boundary runs through the Parse functions, Bundle.Check and the
// Verifier: bytes from anybody may go in, and what comes out is bound to the
// ID. [Recover] and [RowPath] stand behind it and take verified bytes only.
//
// Memory: Commit and CheckClean take up to 40 MiB per call, Recover up to 72,
// beside 74 MiB of tables that the code's library makes once per process, on
// first use. A program that only verifies rows never loads them.
//
// Two loops have assembly for processors with AVX-512 and GFNI: SHA-256 of
// sixteen rows side by side, and the first level of the combination. All other
// processors, and builds with the tag purego or noasm, go without them; the
// bytes are the same.
//
// The code is that of Lin, Al-Naffouri, Han and Chung, "Novel polynomial basis
// with fast Fourier transform and its application to Reed-Solomon erasure
// codes", IEEE Trans. Inf. Theory 62(11), 2016, as implemented in Leopard and
// klauspost/reedsolomon. The proof vector follows ZODA, eprint 2025/034. The
// trees, files and magnet links are those of BEP 3, BEP 9 and BEP 52.
package erasure
