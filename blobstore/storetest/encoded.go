package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"granary/erasure"
)

// Content returns length bytes that depend on seed only.
func Content(seed uint64, length int) []byte {
	b := make([]byte, length)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

// Encoded is a block as its publisher has it.
type Encoded struct {
	Content []byte
	Bundle  erasure.Bundle
	Files   [2][]byte // content and parity, padded
}

// memory is a file.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

// Encode makes a block named "block" of Content(seed, length).
func Encode(t testing.TB, seed uint64, length int) Encoded {
	t.Helper()
	e, err := NewEncoded(t.Context(), seed, length)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// NewEncoded is Encode where there is no test.
func NewEncoded(ctx context.Context, seed uint64, length int) (Encoded, error) {
	g, err := erasure.NewGeometry(int64(length))
	if err != nil {
		return Encoded{}, err
	}
	e := Encoded{Content: Content(seed, length)}
	e.Files[0] = make([]byte, g.PaddedLength())
	copy(e.Files[0], e.Content)
	e.Files[1] = make([]byte, g.PaddedLength())
	e.Bundle, err = erasure.Commit(ctx, "block", int64(length), bytes.NewReader(e.Files[0]), memory(e.Files[1]), nil)
	return e, err
}

// ID is the block's ID.
func (e Encoded) ID() erasure.ID { return e.Bundle.Info.ID() }

// Geometry says how the block is cut into rows and pieces.
func (e Encoded) Geometry() erasure.Geometry { return e.Bundle.Info.Geometry() }

// Piece returns the bytes of a piece.
func (e Encoded) Piece(p int) []byte {
	g := e.Geometry()
	first, rows := g.PieceSpan(p)
	return e.Files[first/g.K()][first%g.K()*erasure.RowSize:][:rows*erasure.RowSize]
}

// Row returns a row with its Merkle path.
func (e Encoded) Row(t testing.TB, row int) ([]byte, []erasure.Root) {
	t.Helper()
	g := e.Geometry()
	piece := g.PieceOf(row)
	first, _ := g.PieceSpan(piece)
	data := e.Piece(piece)
	path, err := erasure.RowPath(g, e.Bundle.Layers, row, data)
	if err != nil {
		t.Fatal(err)
	}
	return data[(row-first)*erasure.RowSize:][:erasure.RowSize], path
}

// hold writes and commits pieces.
func hold(t testing.TB, b Block, e Encoded, pieces ...int) {
	t.Helper()
	for _, p := range pieces {
		if _, err := b.WritePieceAt(p, e.Piece(p), 0); err != nil {
			t.Fatal(err)
		}
		if err := b.CommitPiece(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
}

func addRow(t testing.TB, b Block, e Encoded, row int) {
	t.Helper()
	data, path := e.Row(t, row)
	if err := b.AddRow(t.Context(), row, data, path); err != nil {
		t.Fatal(err)
	}
}

func checkContent(t testing.TB, b Block, e Encoded) {
	t.Helper()
	got, err := io.ReadAll(b.Content())
	if err != nil || !bytes.Equal(got, e.Content) {
		t.Errorf("content differs, or %v", err)
	}
}

// checkPieces compares every held piece.
func checkPieces(t testing.TB, b Block, e Encoded) {
	t.Helper()
	for p := range b.Held().All() {
		got := make([]byte, len(e.Piece(p)))
		if _, err := b.ReadPieceAt(p, got, 0); err != nil || !bytes.Equal(got, e.Piece(p)) {
			t.Errorf("held piece %d is not what was stored (%v)", p, err)
		}
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
