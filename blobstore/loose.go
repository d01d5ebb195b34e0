package blobstore

import (
	"context"
	"errors"
	"fmt"

	"granary/erasure"
)

// AddRow keeps a single row of a piece that nobody could give as a whole: data,
// with its Merkle path, is verified first, and counts for Complete from then
// on. The last row of a piece commits the piece. Before that the row is loose:
// not durable, not claimed, not served, and gone after a restart. Rows that are
// here already are no error.
//
// It returns an error wrapping *erasure.RowError for a wrong row, ErrNotHeld
// while the proof is unknown, and what WritePieceAt and CommitPiece do. It
// keeps no reference to data.
func (b *Block) AddRow(ctx context.Context, row int, data []byte, path []erasure.Root) error {
	ctx, leave, err := b.s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	d, err := b.describe()
	if err != nil {
		return err
	}
	if d.verifier == nil {
		return fmt.Errorf("%w: row %d of %s: the proof is unknown", ErrNotHeld, row, b.id)
	}
	if err := d.verifier.Row(row, data, path); err != nil {
		return fmt.Errorf("row %d of %s: %w", row, b.id, err)
	}
	piece := b.g.PieceOf(row)
	for {
		pending, err := b.addRow(piece, row, data)
		if errors.Is(err, ErrHeld) {
			return nil
		}
		if err != nil {
			return err
		}
		if pending == nil {
			break
		}
		if err := wait(ctx, pending); err != nil {
			return err
		}
	}
	first, count := b.g.PieceSpan(piece)
	for r := first; r < first+count; r++ {
		if !b.isLoose(r) {
			return nil
		}
	}
	return b.CommitPiece(ctx, piece)
}

// addRow writes a verified row, unless the piece's fate is pending.
func (b *Block) addRow(piece, row int, data []byte) (pending <-chan struct{}, err error) {
	b.gate.RLock()
	defer b.gate.RUnlock()
	if pending, err := b.admit(piece); pending != nil || err != nil {
		return pending, err
	}
	b.placing.Lock()
	defer b.placing.Unlock()
	first, _ := b.g.PieceSpan(piece)
	if _, err := b.writeAt(piece, data, int64(row-first)*erasure.RowSize); err != nil {
		return nil, fmt.Errorf("write row %d of %s: %w", row, b.id, diskError(err))
	}
	b.mu.Lock()
	b.loose[row] = struct{}{}
	b.mu.Unlock()
	return nil, nil
}

// RowsAtHand is the number of rows that Complete can use: those of held pieces
// and loose ones.
func (b *Block) RowsAtHand() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.g.RowsIn(b.held)
	for row := range b.loose {
		if !b.held.Has(b.g.PieceOf(row)) {
			n++
		}
	}
	return n
}

// HasRow reports whether Complete can use row.
func (b *Block) HasRow(row int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, loose := b.loose[row]
	return loose || b.held.Has(b.g.PieceOf(row))
}

func (b *Block) isLoose(row int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.loose[row]
	return ok
}

// writeAround writes into a piece but leaves loose rows alone: they are
// verified, and what comes here is not.
func (b *Block) writeAround(piece int, p []byte, off int64) (int, error) {
	b.placing.RLock()
	defer b.placing.RUnlock()
	first, _ := b.g.PieceSpan(piece)
	return eachRow(p, off, func(row int, p []byte, off int64) (int, error) {
		if b.isLoose(first + row) {
			return len(p), nil
		}
		return b.writeAt(piece, p, off)
	})
}

// forgetLoose forgets the loose rows of pieces. b.mu is held.
func (b *Block) forgetLoose(pieces erasure.PieceSet) {
	for row := range b.loose {
		if pieces.Has(b.g.PieceOf(row)) {
			delete(b.loose, row)
		}
	}
}

// recheckLoose forgets the loose rows that the disk changed, and returns an
// error if there were any. The caller has excluded others.
func (b *Block) recheckLoose(d *description) error {
	b.mu.Lock()
	rows := make([]int, 0, len(b.loose))
	for row := range b.loose {
		rows = append(rows, row)
	}
	b.mu.Unlock()
	var errs []error
	data := make([]byte, erasure.RowSize)
	for _, row := range rows {
		piece := b.g.PieceOf(row)
		first, _ := b.g.PieceSpan(piece)
		_, err := b.readAt(piece, data, int64(row-first)*erasure.RowSize)
		switch {
		case err == nil && d.verifier == nil:
			err = errors.New("the row cannot be checked: the proof was damaged meanwhile")
		case err == nil:
			err = d.verifier.Combination(row, data)
		case !isDamage(err):
			return err
		}
		if err != nil {
			b.mu.Lock()
			delete(b.loose, row)
			b.mu.Unlock()
			errs = append(errs, &PieceError{Piece: piece, Err: err})
		}
	}
	return errors.Join(errs...)
}
