package erasure

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// Commit makes a block of length bytes of content under name: it writes the
// parity, K whole rows, and returns the block's description.
//
// content is read twice, positions below length only, and must not change
// meanwhile; both it and parity are used from several goroutines at once, in
// no order. parity may be nil if only the description is wanted. Memory is
// bounded by 256 MiB for any length. The error wraps ErrName or ErrLength, is
// that of ctx, or one of content or parity (io.ErrUnexpectedEOF if content is
// shorter than length).
func Commit(ctx context.Context, name string, length int64, content io.ReaderAt, parity io.WriterAt, progress Progress) (Bundle, error) {
	if err := CheckName(name); err != nil {
		return Bundle{}, err
	}
	g, err := NewGeometry(length)
	if err != nil {
		return Bundle{}, err
	}
	e := encoder{
		g:       g,
		content: paddedReader{content, length},
		parity:  parity,
		meter:   &meter{report: progress, total: 2 * g.PaddedLength()},
	}
	b := Bundle{Info: Info{Name: name, Length: length}}
	if b.Layers, b.Info.Content, b.Info.Parity, err = e.layers(ctx); err != nil {
		return Bundle{}, fmt.Errorf("commit to %q: %w", name, err)
	}
	if b.Proof, err = e.proof(ctx, b.Info.Content, b.Info.Parity); err != nil {
		return Bundle{}, fmt.Errorf("commit to %q: %w", name, err)
	}
	b.Info.ProofHash = sha256.Sum256(b.Proof)
	return b, nil
}

// paddedReader reads content as if zeros followed its first length bytes.
type paddedReader struct {
	content io.ReaderAt
	length  int64
}

// fill fills p from offset off on.
func (r paddedReader) fill(p []byte, off int64) error {
	n := int(max(0, min(int64(len(p)), r.length-off)))
	clear(p[n:])
	return readFull(r.content, p[:n], off)
}

// readFull is ReadAt for which a full read is never an error.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	n, err := r.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes at %d: %w", len(p), off, err)
}

// encoder makes the parts of a block in two passes over its content: the
// combination depends on the roots, hence on every row.
type encoder struct {
	g       Geometry
	content paddedReader
	parity  io.WriterAt // may be nil
	meter   *meter
}

// layers is the first pass: it writes the parity and returns the piece layers
// and roots of both files. Rows are hashed as their bands come by.
func (e encoder) layers(ctx context.Context) (l Layers, content, parity Root, err error) {
	k := e.g.K()
	b, err := newBands(k, k, encodeLimits(k))
	if err != nil {
		return l, content, parity, err
	}
	for s, st := range b.stripes {
		for i := range k {
			st.shards[i], st.shards[k+i] = b.cell(0, i, s), b.cell(1, i, s)
		}
	}
	leaves := [2][]*rowGroup{newRowGroups(k), newRowGroups(k)}
	for column := 0; column < RowSize; column += b.width {
		if err := e.band(ctx, b, column, leaves); err != nil {
			return l, content, parity, err
		}
	}
	var (
		layer [2][]Root
		root  [2]Root
	)
	err = each(ctx, cores(), 2, func(_, file int) error {
		layer[file] = pieceLayer(e.g, sums(leaves[file]))
		root[file] = layerRoot(e.g, layer[file], 0, nil)
		return nil
	})
	return Layers{Content: layer[0], Parity: layer[1]}, root[0], root[1], err
}

// band reads, encodes, hashes and writes the columns from column on.
func (e encoder) band(ctx context.Context, b *bands, column int, leaves [2][]*rowGroup) error {
	err := each(ctx, cores(), len(leaves[0]), func(_, g int) error {
		rows := b.group(0, g)
		for i, row := range rows {
			if err := e.content.fill(row, int64(g*groupRows+i)*RowSize+int64(column)); err != nil {
				return fmt.Errorf("content: %w", err)
			}
		}
		leaves[0][g].write(rows)
		return nil
	})
	if err != nil {
		return err
	}
	err = each(ctx, len(b.stripes), len(b.stripes), func(_, s int) error {
		return b.stripes[s].code.Encode(b.stripes[s].shards)
	})
	if err != nil {
		return err
	}
	return each(ctx, cores(), len(leaves[1]), func(_, g int) error {
		rows := b.group(1, g)
		leaves[1][g].write(rows)
		for i, row := range rows {
			if e.parity != nil {
				if _, err := e.parity.WriteAt(row, int64(g*groupRows+i)*RowSize+int64(column)); err != nil {
					return fmt.Errorf("parity: %w", err)
				}
			}
			e.meter.add(len(row))
		}
		return nil
	})
}

func sums(groups []*rowGroup) (leaves []Root) {
	for _, g := range groups {
		leaves = g.sums(leaves, RowSize)
	}
	return leaves
}

// proof is the second pass: it returns the proof vector under the two roots.
func (e encoder) proof(ctx context.Context, content, parity Root) ([]byte, error) {
	coeff := deriveCoefficients(e.g, content, parity)
	y := make([]element, e.g.K())
	buffers := make([][batchRows * RowSize]byte, cores())
	batches := (len(y) + batchRows - 1) / batchRows
	err := each(ctx, cores(), batches, func(worker, i int) error {
		part := y[i*batchRows : min((i+1)*batchRows, len(y))]
		rows := buffers[worker][:len(part)*RowSize]
		if err := e.content.fill(rows, int64(i)*batchRows*RowSize); err != nil {
			return fmt.Errorf("content: %w", err)
		}
		coeff.combineBulk(part, rows)
		e.meter.add(len(rows))
		return nil
	})
	proof := make([]byte, 0, len(y)*elementSize)
	for _, e := range y {
		proof = appendElement(proof, e)
	}
	return proof, err
}
