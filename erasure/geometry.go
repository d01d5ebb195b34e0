package erasure

import (
	"errors"
	"fmt"
	"math/bits"
)

const (
	// RowSize is the length of every row in bytes: the unit of coding and of
	// sampling, and one BEP 52 leaf.
	RowSize = 16 << 10

	// MaxContentRows bounds k, so that 2k rows fit the code and a block fits
	// the memory budget of its slowest reader.
	MaxContentRows = 1 << 14

	// MaxLength is the largest content of one block in bytes.
	MaxLength = MaxContentRows * RowSize // 256 MiB

	// MaxFilePieces bounds the pieces of one file. Clients ask for at most 512
	// piece hashes at once and not every seeder can prove a part of a layer.
	MaxFilePieces = 512
)

// ErrLength reports content that is empty or longer than MaxLength.
var ErrLength = errors.New("content length outside 1 byte to 256 MiB")

// Geometry says how content of one length is cut into rows and pieces. The
// zero Geometry is invalid; make one with NewGeometry.
//
// Rows 0 ≤ i < K are content rows, K ≤ i < 2K parity rows. Pieces are numbered
// as in the torrent: 0 ≤ p < FilePieces cut the content file, the next
// FilePieces the parity file, so a piece never spans the two.
type Geometry struct {
	length int64
	k      int
	shift  int // a piece is 1<<shift rows
}

// NewGeometry returns the geometry of content of length bytes, or ErrLength.
func NewGeometry(length int64) (Geometry, error) {
	if length < 1 || length > MaxLength {
		return Geometry{}, fmt.Errorf("%w: %d bytes", ErrLength, length)
	}
	g := Geometry{length: length, k: int((length + RowSize - 1) / RowSize)}
	for g.FilePieces() > MaxFilePieces {
		g.shift++
	}
	return g, nil
}

// Length is the content's length in bytes.
func (g Geometry) Length() int64 { return g.length }

// K is the number of content rows, and of parity rows.
func (g Geometry) K() int { return g.k }

// Rows is the number of all rows, 2K.
func (g Geometry) Rows() int { return 2 * g.k }

// PaddedLength is the length of each of the two files in bytes: K whole rows.
func (g Geometry) PaddedLength() int64 { return int64(g.k) * RowSize }

// PieceRows is the number of rows in a full piece, a power of two.
func (g Geometry) PieceRows() int { return 1 << g.shift }

// PieceLength is the length of a full piece in bytes.
func (g Geometry) PieceLength() int64 { return RowSize << g.shift }

// FilePieces is the number of pieces of one file, at most MaxFilePieces.
func (g Geometry) FilePieces() int { return (g.k + g.PieceRows() - 1) >> g.shift }

// Pieces is the number of pieces of both files.
func (g Geometry) Pieces() int { return 2 * g.FilePieces() }

// PieceOf returns the piece that holds row, 0 ≤ row < Rows.
func (g Geometry) PieceOf(row int) int {
	if row < g.k {
		return row >> g.shift
	}
	return g.FilePieces() + (row-g.k)>>g.shift
}

// PieceSpan returns the first row of piece, 0 ≤ piece < Pieces, and how many
// rows it has: PieceRows, or fewer for the last piece of a file.
func (g Geometry) PieceSpan(piece int) (first, count int) {
	base := 0
	if piece >= g.FilePieces() {
		piece -= g.FilePieces()
		base = g.k
	}
	first = piece << g.shift
	return base + first, min(g.PieceRows(), g.k-first)
}

// Depth is the length of every row's Merkle path: the tree over K leaves is
// padded to a power of two.
func (g Geometry) Depth() int { return bits.Len(uint(g.k - 1)) }
