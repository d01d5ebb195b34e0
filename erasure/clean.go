package erasure

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/reedsolomon"
)

// ErrNotClean reports content that is not what the block's ID commits to: its
// padding is not zero, or encoding it again gives other roots or another proof
// vector. If the content was decoded from verified rows, the publisher lied.
var ErrNotClean = errors.New("block is not clean")

// CheckClean encodes content again, its padding included: K whole rows are
// read, twice. It returns the block's bundle if both roots and the hash of the
// proof vector are those of info and the padding is zero, else an error that
// wraps ErrNotClean.
//
// parity receives the encoded parity, K whole rows, and may be nil; what it
// received is worth nothing after an error. Otherwise CheckClean is as Commit.
func CheckClean(ctx context.Context, info Info, content io.ReaderAt, parity io.WriterAt, progress Progress) (Bundle, error) {
	if err := info.Validate(); err != nil {
		return Bundle{}, err
	}
	id := info.ID().Short()
	g := info.Geometry()
	padding := make([]byte, g.PaddedLength()-g.Length())
	if err := readFull(content, padding, g.Length()); err != nil {
		return Bundle{}, fmt.Errorf("check %s: padding: %w", id, err)
	}
	for _, b := range padding {
		if b != 0 {
			return Bundle{}, fmt.Errorf("check %s: %w: padding is not zero", id, ErrNotClean)
		}
	}
	e := encoder{
		g:       g,
		content: paddedReader{content, g.PaddedLength()},
		parity:  parity,
		meter:   &meter{report: progress, total: 2 * g.PaddedLength()},
	}
	layers, contentRoot, parityRoot, err := e.layers(ctx)
	if err != nil {
		return Bundle{}, fmt.Errorf("check %s: %w", id, err)
	}
	if contentRoot != info.Content {
		return Bundle{}, fmt.Errorf("check %s: %w: content root %v, want %v", id, ErrNotClean, contentRoot, info.Content)
	}
	if parityRoot != info.Parity {
		return Bundle{}, fmt.Errorf("check %s: %w: parity root %v, want %v", id, ErrNotClean, parityRoot, info.Parity)
	}
	proof, err := e.proof(ctx, contentRoot, parityRoot)
	if err != nil {
		return Bundle{}, fmt.Errorf("check %s: %w", id, err)
	}
	if sha256.Sum256(proof) != info.ProofHash {
		return Bundle{}, fmt.Errorf("check %s: %w: proof vector", id, ErrNotClean)
	}
	return Bundle{Info: info, Proof: proof, Layers: layers}, nil
}

// ParityRow computes parity row row, K ≤ row < 2K, into dst, RowSize bytes. It
// reads all content rows once, padding included, in order.
//
// The parity matrix is Cauchy's: parity row j is the sum over content rows i
// of row i divided by j XOR (m+i), m the smallest power of two ≥ K, in
// coordinates. One row this way costs a small part of encoding them all.
func ParityRow(g Geometry, row int, content io.ReaderAt, dst []byte) error {
	k := g.K()
	if row < k || row >= 2*k || len(dst) != RowSize {
		return fmt.Errorf("%w: no parity row %d of %d bytes", ErrPiece, row, len(dst))
	}
	var lib reedsolomon.LowLevel
	f, m := field(), ceilPow2(k)
	clear(dst)
	buf := make([]byte, RowSize)
	for i := range k {
		if err := readFull(content, buf, int64(i)*RowSize); err != nil {
			return fmt.Errorf("parity row %d: content row %d: %w", row, i, err)
		}
		lib.GF16MulSliceXor(f.inv(uint16((row-k)^(m+i))), buf, dst)
	}
	return nil
}
