package erasure

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"
)

// ErrPiece reports bytes that cannot be the piece they are said to be: wrong
// length, or no such piece.
var ErrPiece = errors.New("not a piece of the block")

// LeafHash returns the Merkle leaf of row, RowSize bytes: its SHA-256.
func LeafHash(row []byte) Root { return sha256.Sum256(row) }

// PieceHash returns the hash that the piece layer holds for piece, given all
// of its bytes: as many rows as PieceSpan says. A short last piece is padded
// with zero hashes, as BEP 52 says. It returns ErrPiece if data has the wrong
// length or there is no such piece.
func PieceHash(g Geometry, piece int, data []byte) (Root, error) {
	hashes, err := pieceLeaves(g, piece, data)
	if err != nil {
		return Root{}, err
	}
	return foldTo(hashes, g.shift, 0, nil), nil
}

// RowPath returns the Merkle path of row, Depth hashes from leaf to root,
// given the layers and all bytes of the piece that holds row. It checks
// nothing but lengths (ErrPiece): pass verified bytes and layers.
func RowPath(g Geometry, l Layers, row int, piece []byte) ([]Root, error) {
	if row < 0 || row >= g.Rows() {
		return nil, fmt.Errorf("%w: no row %d", ErrPiece, row)
	}
	p := g.PieceOf(row)
	first, _ := g.PieceSpan(p)
	hashes, err := pieceLeaves(g, p, piece)
	if err != nil {
		return nil, err
	}
	layer := l.Content
	if p >= g.FilePieces() {
		p -= g.FilePieces()
		layer = l.Parity
	}
	if len(layer) != g.FilePieces() {
		return nil, fmt.Errorf("%w: %d hashes, want %d", ErrLayers, len(layer), g.FilePieces())
	}
	path := make([]Root, 0, g.Depth())
	foldTo(hashes, g.shift, row-first, &path)
	layerRoot(g, layer, p, &path)
	return path, nil
}

func pieceLeaves(g Geometry, piece int, data []byte) ([]Root, error) {
	if piece < 0 || piece >= g.Pieces() {
		return nil, fmt.Errorf("%w: no piece %d", ErrPiece, piece)
	}
	_, count := g.PieceSpan(piece)
	if len(data) != count*RowSize {
		return nil, fmt.Errorf("%w: piece %d has %d bytes, want %d", ErrPiece, piece, len(data), count*RowSize)
	}
	return appendLeaves(make([]Root, 0, count), data), nil
}

func hashPair(left, right Root) Root {
	var b [64]byte
	copy(b[:32], left[:])
	copy(b[32:], right[:])
	return sha256.Sum256(b[:])
}

// foldTo hashes 1 ≤ len(leaves) ≤ 2^levels leaves, padded with zero hashes, up
// to their common node. If path is not nil, the siblings on the way up from
// index are appended to it. The leaves are overwritten.
func foldTo(leaves []Root, levels, index int, path *[]Root) Root {
	return foldPadded(leaves, Root{}, levels, index, path)
}

// layerRoot is foldTo for a piece layer, whose padding are the roots of pieces
// of zero hashes. The layer is not changed.
func layerRoot(g Geometry, layer []Root, index int, path *[]Root) Root {
	var pad Root
	for range g.shift {
		pad = hashPair(pad, pad)
	}
	return foldPadded(append([]Root(nil), layer...), pad, g.Depth()-g.shift, index, path)
}

func foldPadded(nodes []Root, pad Root, levels, index int, path *[]Root) Root {
	for range levels {
		at := func(i int) Root {
			if i < len(nodes) {
				return nodes[i]
			}
			return pad
		}
		if path != nil {
			*path = append(*path, at(index^1))
			index >>= 1
		}
		up := nodes[:(len(nodes)+1)/2]
		last := hashPair(at(2*len(up)-2), at(2*len(up)-1)) // its right child may be padding
		hashPairs(up[:len(up)-1], nodes)
		up[len(up)-1] = last
		nodes, pad = up, hashPair(pad, pad)
	}
	return nodes[0]
}

// pathRoot returns the root to which path leads from leaf at index.
func pathRoot(leaf Root, index int, path []Root) Root {
	for _, sibling := range path {
		if index&1 == 0 {
			leaf = hashPair(leaf, sibling)
		} else {
			leaf = hashPair(sibling, leaf)
		}
		index >>= 1
	}
	return leaf
}

// pieceLayer folds the leaf hashes of one file to its piece layer. The leaves
// are overwritten.
func pieceLayer(g Geometry, leaves []Root) []Root {
	layer := make([]Root, g.FilePieces())
	for p := range layer {
		first, count := g.PieceSpan(p)
		layer[p] = foldTo(leaves[first:first+count], g.shift, 0, nil)
	}
	return layer
}

// ceilPow2 returns the smallest power of two ≥ n, n ≥ 1.
func ceilPow2(n int) int { return 1 << bits.Len(uint(n-1)) }
