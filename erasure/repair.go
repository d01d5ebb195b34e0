package erasure

import (
	"context"
	"fmt"
	"io"

	"github.com/klauspost/reedsolomon"
)

const (
	// fewRows is up to how many missing rows the Cauchy form beats the FFT,
	// whose cost does not depend on their number.
	fewRows = 32

	factorGroup = 8       // factors that the library applies to one slice at once
	minColumns  = 2 << 10 // bytes of every row that are worth a goroutine
)

// repair rebuilds few missing content rows without an FFT.
//
// A parity row is the sum of all content rows, each by its entry of the Cauchy
// matrix. Adding to it what the rows at hand contribute leaves what the
// missing rows contribute: as many sums as missing rows, over a square part
// of the matrix, whose inverse has a closed form.
type repair struct {
	k       int
	missing []int // content rows
	parity  []int // as many parity rows, counted from 0
	src     Source
	out     io.WriterAt
	meter   *meter
}

func (r repair) run(ctx context.Context) error {
	f, m := field(), ceilPow2(r.k)
	x, y := make([]uint16, len(r.parity)), make([]uint16, len(r.missing))
	for a := range x {
		x[a], y[a] = uint16(r.parity[a]), uint16(m+r.missing[a])
	}
	inverse := f.cauchyInverse(x, y)
	width := max(RowSize/ceilPow2(cores()), minColumns)
	return each(ctx, cores(), RowSize/width, func(_, i int) error {
		sums := make([][]byte, (len(x)+factorGroup-1)/factorGroup*factorGroup)
		for a := range sums {
			sums[a] = make([]byte, width)
		}
		if err := r.contributions(ctx, x, sums, int64(i*width)); err != nil {
			return err
		}
		var lib reedsolomon.LowLevel
		row := make([]byte, width)
		for b, at := range r.missing {
			clear(row)
			for a := range x {
				lib.GF16MulSliceXor(inverse[b][a], sums[a], row)
			}
			if _, err := r.out.WriteAt(row, int64(at)*RowSize+int64(i*width)); err != nil {
				return fmt.Errorf("write row %d: %w", at, err)
			}
		}
		return nil
	})
}

// contributions sets sums[a] to the sum of what the missing rows contribute to
// parity row x[a], in the columns from column on.
func (r repair) contributions(ctx context.Context, x []uint16, sums [][]byte, column int64) error {
	var (
		lib     reedsolomon.LowLevel
		f, m    = field(), ceilPow2(r.k)
		buf     = make([]byte, len(sums[0]))
		missing = r.missing
	)
	for a, row := range r.parity {
		if err := readFull(r.src.Parity, sums[a], int64(row)*RowSize+column); err != nil {
			return fmt.Errorf("row %d: %w", r.k+row, err)
		}
		r.meter.add(len(buf))
	}
	for i := range r.k {
		if len(missing) > 0 && missing[0] == i {
			missing = missing[1:]
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := readFull(r.src.Content, buf, int64(i)*RowSize+column); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
		for from := 0; from < len(x); from += factorGroup {
			var factors [factorGroup]uint16 // zero beyond len(x)
			for a := range x[from:min(from+factorGroup, len(x))] {
				factors[a] = f.inv(x[from+a] ^ uint16(m+i))
			}
			lib.GF16MulSliceXor8(&factors, buf, (*[factorGroup][]byte)(sums[from:]))
		}
		r.meter.add(len(buf))
	}
	return nil
}

// cauchyInverse returns the inverse of the matrix 1/(x[a]+y[b]), row b and
// column a: distinct x, distinct y, and none of the one among the other.
func (f *logTables) cauchyInverse(x, y []uint16) [][]uint16 {
	scale := func(of []uint16, i int, other []uint16) uint16 {
		up, down := uint16(1), uint16(1)
		for c := range of {
			up = f.mul(up, of[i]^other[c])
			if c != i {
				down = f.mul(down, of[i]^of[c])
			}
		}
		return f.mul(up, f.inv(down))
	}
	inverse := make([][]uint16, len(y))
	for b := range y {
		inverse[b] = make([]uint16, len(x))
		for a := range x {
			inverse[b][a] = f.mul(f.mul(scale(x, a, y), scale(y, b, x)), f.inv(x[a]^y[b]))
		}
	}
	return inverse
}
