package blobstore

import (
	"context"
	"errors"
	"fmt"

	"granary/erasure"
)

// Row returns a row and its Merkle path, both the caller's, verified as any
// light node will verify them. It returns ErrNotHeld when the row's piece is
// not held or the proof is unknown, and a *PieceError when the disk changed
// the piece, which is then quarantined.
func (b *Block) Row(row int) ([]byte, []erasure.Root, error) {
	if row < 0 || row >= b.g.Rows() {
		return nil, nil, fmt.Errorf("%w: row %d of %d in %s", ErrPiece, row, b.g.Rows(), b.id)
	}
	piece := b.g.PieceOf(row)
	if !b.Has(piece) { // before anything is read for a stranger
		return nil, nil, fmt.Errorf("%w: row %d of %s", ErrNotHeld, row, b.id)
	}
	d, err := b.describe()
	if err != nil {
		return nil, nil, err
	}
	if d.verifier == nil {
		return nil, nil, fmt.Errorf("%w: row %d of %s: the proof is unknown", ErrNotHeld, row, b.id)
	}
	buf := b.s.buffer()
	defer b.s.buffers.Put(buf)
	data := (*buf)[:pieceBytes(b.g, piece)]
	if _, err := b.serve(piece, data, 0, true); err != nil {
		return nil, nil, err
	}
	path, err := erasure.RowPath(b.g, d.layers, row, data)
	if err != nil {
		return nil, nil, b.rotten(piece, err)
	}
	first, _ := b.g.PieceSpan(piece)
	out := append([]byte(nil), data[(row-first)*erasure.RowSize:][:erasure.RowSize]...)
	if err := d.verifier.Row(row, out, path); err != nil {
		return nil, nil, b.rotten(piece, err)
	}
	return out, path, nil
}

// rotten quarantines a piece that no longer verifies.
func (b *Block) rotten(piece int, cause error) error {
	// Close interrupts it; a piece that stays held is found again by the next reader.
	return errors.Join(&PieceError{Piece: piece, Err: cause}, b.doubt(context.Background(), piece))
}
