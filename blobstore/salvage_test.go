package blobstore_test

import (
	"runtime"
	"testing"

	"granary/blobstore"
	"granary/erasure"
)

// unfinished makes a closed store in which the pieces of drop were committed and
// dropped, piece 3 is held, pieces to 60 were written whole and not committed,
// and piece 61 in part.
func unfinished(t *testing.T, e encoded, drop ...int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, dir, blobstore.Config{})
	bundle := e.Bundle
	bundle.Proof = nil // as from a .torrent
	b := put(t, s, bundle)
	hold(t, b, e, append([]int{3}, drop...)...)
	if len(drop) > 0 {
		pieces := erasure.NewPieceSet(b.Geometry().Pieces())
		for _, p := range drop {
			pieces.Add(p)
		}
		if err := b.DropPieces(t.Context(), pieces); err != nil {
			t.Fatal(err)
		}
	}
	for p := range 62 {
		data := e.Piece(p)
		if p == 61 {
			data = data[:len(data)-1]
		}
		if p == 3 {
			continue
		}
		if _, err := b.WritePieceAt(p, data, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPiecesWrittenWholeAreHeldAfterARestart: nobody need bring them again, and
// the bytes of those cut short are given back.
func TestPiecesWrittenWholeAreHeldAfterARestart(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("what a sparse file takes is not told there")
	}
	e := encode(t, 39, 64*erasure.RowSize)
	dir := unfinished(t, e)
	for range 2 { // once found they are as any other
		s := open(t, dir, blobstore.Config{})
		b, err := s.Block(e.ID())
		if err != nil {
			t.Fatal(err)
		}
		if b.Held().Count() != 61 || b.Has(61) {
			t.Errorf("%d pieces held, want the first 61", b.Held().Count())
		}
		wantPieces(t, b, e)
		if u, err := s.Usage(); err != nil || u.Bytes > 66*erasure.RowSize {
			t.Errorf("%d bytes used with 61 pieces held (%v)", u.Bytes, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDroppedPiecesDoNotComeBack: where some were dropped, what else is there may
// be of them.
func TestDroppedPiecesDoNotComeBack(t *testing.T) {
	e := encode(t, 39, 64*erasure.RowSize)
	s := open(t, unfinished(t, e, 100, 101), blobstore.Config{})
	b, err := s.Block(e.ID())
	if err != nil {
		t.Fatal(err)
	}
	if b.Held().Count() != 1 || !b.Has(3) {
		t.Errorf("%d pieces held, want piece 3", b.Held().Count())
	}
	_, err = b.ReadPieceAt(4, make([]byte, 1), 0)
	wantErr(t, "read", err, blobstore.ErrNotHeld)
	if u, err := s.Usage(); runtime.GOOS == "linux" && (err != nil || u.Bytes > 6*erasure.RowSize) {
		t.Errorf("%d bytes used with one piece held (%v)", u.Bytes, err)
	}
}
