package erasure

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// ErrTooFewRows reports that fewer than K rows can be read. It is always a
// *TooFewRowsError.
var ErrTooFewRows = errors.New("too few rows")

// TooFewRowsError is ErrTooFewRows with its numbers.
type TooFewRowsError struct{ Have, Need int }

// Error implements error.
func (e *TooFewRowsError) Error() string {
	return fmt.Sprintf("too few rows: have %d, need %d", e.Have, e.Need)
}

// Is reports whether target is ErrTooFewRows.
func (e *TooFewRowsError) Is(target error) bool { return target == ErrTooFewRows }

// Source says which rows of a block can be read, and where: content row i at
// RowSize·i of Content, parity row K+i at RowSize·i of Parity. Have is called
// from one goroutine, before anything is read.
type Source struct {
	Have    func(row int) bool
	Content io.ReaderAt
	Parity  io.ReaderAt
}

// Recover writes every content row that src lacks to out, row i at RowSize·i.
// It reads exactly K rows, the content's first, and nothing at all if no
// content row is missing. Pass verified rows only: Recover does not check
// them, and any K rows give some content.
//
// src and out are used from several goroutines; out may be where src.Content
// reads, since rows read are never written. Memory is bounded by 256 MiB. The
// error is a *TooFewRowsError, that of ctx, or one of src or out.
func Recover(ctx context.Context, g Geometry, src Source, out io.WriterAt, progress Progress) error {
	missing, parity, err := choose(g, src)
	if err != nil || len(missing) == 0 {
		return err
	}
	k := g.K()
	m := &meter{report: progress, total: g.PaddedLength()}
	if len(missing) <= fewRows {
		r := repair{k: k, missing: missing, src: src, out: out, meter: m}
		for _, row := range parity {
			r.parity = append(r.parity, row-k)
		}
		if err := r.run(ctx); err != nil {
			return fmt.Errorf("recover: %w", err)
		}
		return nil
	}
	b, err := newBands(k, len(missing), decodeLimits(k))
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	rows := make([]int, k) // what is read: row i, or a parity row in place of a missing one
	for i := range rows {
		rows[i] = i
	}
	for i, row := range missing {
		rows[row] = parity[i]
	}
	for column := 0; column < RowSize; column += b.width {
		if err := recoverBand(ctx, b, column, src, out, rows, missing, m); err != nil {
			return fmt.Errorf("recover: %w", err)
		}
	}
	return nil
}

// choose returns the content rows that are missing and as many parity rows.
func choose(g Geometry, src Source) (missing, parity []int, err error) {
	k := g.K()
	for row := range k {
		if !src.Have(row) {
			missing = append(missing, row)
		}
	}
	for row := k; row < g.Rows() && len(parity) < len(missing); row++ {
		if src.Have(row) {
			parity = append(parity, row)
		}
	}
	if len(parity) < len(missing) {
		return nil, nil, &TooFewRowsError{Have: k - len(missing) + len(parity), Need: k}
	}
	return missing, parity, nil
}

// recoverBand reads rows, decodes, and writes the missing rows' columns.
func recoverBand(ctx context.Context, b *bands, column int, src Source, out io.WriterAt, rows, missing []int, m *meter) error {
	err := each(ctx, cores(), b.k, func(_, i int) error {
		from, at := src.Content, rows[i]
		if at >= b.k {
			from, at = src.Parity, at-b.k
		}
		if err := readFull(from, b.row(0, i), int64(at)*RowSize+int64(column)); err != nil {
			return fmt.Errorf("row %d: %w", rows[i], err)
		}
		m.add(b.width)
		return nil
	})
	if err != nil {
		return err
	}
	err = each(ctx, len(b.stripes), len(b.stripes), func(_, s int) error {
		shards := b.stripes[s].shards
		clear(shards)
		for i, row := range rows {
			shards[row] = b.cell(0, i, s)
		}
		for i, row := range missing {
			shards[row] = b.cell(1, i, s)[:0] // empty with room: to be rebuilt in place
		}
		return b.stripes[s].code.ReconstructData(shards)
	})
	if err != nil {
		return err
	}
	return each(ctx, cores(), len(missing), func(_, i int) error {
		if _, err := out.WriteAt(b.row(1, i), int64(missing[i])*RowSize+int64(column)); err != nil {
			return fmt.Errorf("write row %d: %w", missing[i], err)
		}
		return nil
	})
}
