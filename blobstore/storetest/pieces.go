package storetest

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"

	"granary/blobstore"
	"granary/erasure"
)

func (su suite[S, B]) commitRefusesWhatDoesNotVerify(t *testing.T) {
	e := Encode(t, 3, 600*erasure.RowSize) // pieces of two rows
	for _, proven := range []bool{true, false} {
		s := su.open(t, t.TempDir(), 0)
		bundle := e.Bundle
		if !proven {
			bundle.Proof = nil
		}
		b := su.put(t, s, bundle)
		bad := bytes.Clone(e.Piece(5))
		bad[20_000] ^= 1
		if _, err := b.WritePieceAt(5, bad, 0); err != nil {
			t.Fatal(err)
		}
		var pieceErr *blobstore.PieceError
		if err := b.CommitPiece(t.Context(), 5); !errors.As(err, &pieceErr) || pieceErr.Piece != 5 {
			t.Errorf("proven=%v: altered piece: %v, want *PieceError", proven, err)
		}
		if b.Has(5) {
			t.Error("altered piece is held")
		}
		// It may be written again, in parts, as a torrent engine does.
		if _, err := b.WritePieceAt(5, e.Piece(5)[erasure.RowSize:], erasure.RowSize); err != nil {
			t.Fatal(err)
		}
		if err := b.CommitPiece(t.Context(), 5); err != nil || !b.Has(5) || b.Rows() != 2 {
			t.Errorf("proven=%v: mended piece: %v", proven, err)
		}
	}
}

func (su suite[S, B]) heldPieceIsImmutable(t *testing.T) {
	e := Encode(t, 4, 4*erasure.RowSize)
	b := su.put(t, su.open(t, t.TempDir(), 0), e.Bundle)
	hold(t, b, e, 1)
	_, err := b.WritePieceAt(1, make([]byte, 100), 0)
	wantErr(t, "write to a held piece", err, blobstore.ErrHeld)
	got := make([]byte, erasure.RowSize)
	if _, err := b.ReadPieceAt(1, got, 0); err != nil || !bytes.Equal(got, e.Piece(1)) {
		t.Errorf("held piece changed (%v)", err)
	}
	if err := b.CommitPiece(t.Context(), 1); err != nil {
		t.Errorf("commit of a held piece: %v", err)
	}
}

func (su suite[S, B]) readsStayWithinWrittenPieces(t *testing.T) {
	e := Encode(t, 5, 4*erasure.RowSize)
	b := su.put(t, su.open(t, t.TempDir(), 0), e.Bundle)
	buf := make([]byte, 10)
	_, err := b.ReadPieceAt(0, buf, 0)
	wantErr(t, "read of nothing", err, blobstore.ErrNotHeld)
	if _, err := b.WritePieceAt(0, e.Piece(0), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ReadPieceAt(0, buf, 7); err != nil || !bytes.Equal(buf, e.Piece(0)[7:17]) {
		t.Errorf("written and not committed: %v", err)
	}
	if n, err := b.ReadPieceAt(0, buf, erasure.RowSize-4); n != 4 || err != io.EOF {
		t.Errorf("read across the end: %d bytes, %v; want 4, EOF", n, err)
	}
	for _, bad := range []struct {
		piece int
		off   int64
	}{{-1, 0}, {8, 0}, {0, -1}, {0, erasure.RowSize + 1}} {
		_, err := b.ReadPieceAt(bad.piece, buf, bad.off)
		wantErr(t, "read outside", err, blobstore.ErrPiece)
		_, err = b.WritePieceAt(bad.piece, buf, bad.off)
		wantErr(t, "write outside", err, blobstore.ErrPiece)
	}
	_, err = b.WritePieceAt(0, buf, erasure.RowSize-9)
	wantErr(t, "write across the end", err, blobstore.ErrPiece)
	wantErr(t, "commit outside", b.CommitPiece(t.Context(), 8), blobstore.ErrPiece)
	_, _, err = b.Row(8)
	wantErr(t, "row outside", err, blobstore.ErrPiece)
	_, _, err = b.Row(0)
	wantErr(t, "row of a piece that is not held", err, blobstore.ErrNotHeld)
	_, err = io.ReadAll(b.Content())
	wantErr(t, "content of a block that is not there", err, blobstore.ErrNotHeld)
}

// manyCommitAtOnce has several callers fight over the same pieces of
// several blocks, some with garbage, while others read and drop.
func (su suite[S, B]) manyCommitAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := su.open(t, dir, 0)
	var blocks []Encoded
	for i := range 3 {
		blocks = append(blocks, Encode(t, uint64(20+i), 24*erasure.RowSize))
	}
	var wg sync.WaitGroup
	for _, e := range blocks {
		for caller := range 4 {
			wg.Go(func() {
				b, err := s.Put(t.Context(), e.Bundle)
				if err != nil {
					t.Error(err)
					return
				}
				for i := range e.Geometry().Pieces() {
					p := (i + caller*5) % e.Geometry().Pieces()
					data := e.Piece(p)
					if caller == 3 && p%2 == 0 {
						data = make([]byte, len(data))
					}
					_, err := b.WritePieceAt(p, data, 0)
					if err != nil && !errors.Is(err, blobstore.ErrHeld) {
						t.Error(err)
					}
					var bad *blobstore.PieceError
					if err := b.CommitPiece(t.Context(), p); err != nil && !errors.As(err, &bad) {
						t.Error(err)
					}
					if b.Has(p) {
						got := make([]byte, len(data))
						if _, err := b.ReadPieceAt(p, got, 0); err != nil || !bytes.Equal(got, e.Piece(p)) {
							t.Errorf("held piece %d differs (%v)", p, err)
						}
					}
				}
			})
		}
	}
	wg.Wait()
	for _, e := range blocks {
		b, err := s.Block(e.ID())
		if err != nil {
			t.Fatal(err)
		}
		for p := range e.Geometry().Pieces() {
			if !b.Has(p) {
				hold(t, b, e, p)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = su.open(t, dir, 0)
	for _, b := range s.Blocks() {
		if b.Held().Count() != b.Geometry().Pieces() || b.Whole() {
			t.Errorf("%d pieces, whole %v; want all, not yet whole", b.Held().Count(), b.Whole())
		}
		if err := b.Complete(t.Context(), nil); err != nil || !b.Whole() {
			t.Errorf("complete: %v", err)
		}
	}
}

// publishersLieIsToldFromAPeers has a piece that hashes right and has the wrong combination.
func (su suite[S, B]) publishersLieIsToldFromAPeers(t *testing.T) {
	e, other := Encode(t, 14, 4*erasure.RowSize), Encode(t, 15, 4*erasure.RowSize)
	lie := e.Bundle
	lie.Info.Parity, lie.Layers.Parity = other.Bundle.Info.Parity, other.Bundle.Layers.Parity
	b := su.put(t, su.open(t, t.TempDir(), 0), lie)
	var row *erasure.RowError
	if _, err := b.WritePieceAt(4, other.Piece(4), 0); err != nil {
		t.Fatal(err)
	}
	if err := b.CommitPiece(t.Context(), 4); !errors.As(err, &row) {
		t.Errorf("the publisher's lie: %v, want *erasure.RowError", err)
	}
	if _, err := b.WritePieceAt(4, make([]byte, erasure.RowSize), 0); err != nil {
		t.Fatal(err)
	}
	var piece *erasure.PieceError
	if err := b.CommitPiece(t.Context(), 4); !errors.As(err, &piece) {
		t.Errorf("a peer's: %v, want *erasure.PieceError", err)
	}
}

// uncleanBlockIsRefused has a publisher whose parity is none.
func (su suite[S, B]) uncleanBlockIsRefused(t *testing.T) {
	e, other := Encode(t, 11, 4*erasure.RowSize), Encode(t, 12, 4*erasure.RowSize)
	lie := erasure.Bundle{Info: e.Bundle.Info, Layers: e.Bundle.Layers}
	lie.Info.Parity, lie.Layers.Parity = other.Bundle.Info.Parity, other.Bundle.Layers.Parity
	lied := Encoded{Bundle: lie, Files: [2][]byte{e.Files[0], other.Files[1]}}
	s := su.open(t, t.TempDir(), 0)
	b := su.put(t, s, lie)
	hold(t, b, lied, 0, 1, 4, 5)
	for range 2 {
		wantErr(t, "complete", b.Complete(t.Context(), nil), erasure.ErrNotClean)
	}
	if b.Whole() || b.Held().Count() != 4 {
		t.Errorf("whole %v, %d pieces; want the 4 that verify", b.Whole(), b.Held().Count())
	}
	if b.Bundle().Proof != nil {
		t.Error("a proof was learnt from an unclean block")
	}
	// All pieces verify and the block is still none.
	for p := range 8 {
		if !b.Has(p) {
			hold(t, b, lied, p)
		}
	}
	wantErr(t, "complete", b.Complete(t.Context(), nil), erasure.ErrNotClean)
}
