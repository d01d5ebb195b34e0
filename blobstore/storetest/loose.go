package storetest

import (
	"bytes"
	"errors"
	"testing"

	"granary/blobstore"
	"granary/erasure"
)

// scatteredRowsMakeABlockWhole takes one row of each piece: no piece can
// ever be held by them, and k rows they are.
func (su suite[S, B]) scatteredRowsMakeABlockWhole(t *testing.T) {
	e := Encode(t, 1, 600*erasure.RowSize-5) // pieces of two rows
	g := e.Bundle.Info.Geometry()
	dir := t.TempDir()
	s := su.open(t, dir, 0)
	b := su.put(t, s, e.Bundle)
	for p := range g.Pieces() {
		first, _ := g.PieceSpan(p)
		addRow(t, b, e, first+p%2)
		addRow(t, b, e, first+p%2) // twice is once
	}
	if b.Held().Count() != 0 || b.Rows() != 0 || b.RowsAtHand() != g.K() {
		t.Fatalf("%d pieces and %d rows held, %d at hand; want none, none and %d", b.Held().Count(), b.Rows(), b.RowsAtHand(), g.K())
	}
	first, _ := g.PieceSpan(3)
	if _, _, err := b.Row(first + 1); !errors.Is(err, blobstore.ErrNotHeld) {
		t.Errorf("a loose row is served: %v", err)
	}
	if err := b.Complete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if !b.Whole() || b.RowsAtHand() != g.Rows() {
		t.Errorf("whole is %v, with %d rows at hand", b.Whole(), b.RowsAtHand())
	}
	checkContent(t, b, e)
}

func (su suite[S, B]) looseRowsAreForgottenAtARestart(t *testing.T) {
	e := Encode(t, 2, 600*erasure.RowSize)
	dir := t.TempDir()
	s := su.open(t, dir, 0)
	b := su.put(t, s, e.Bundle)
	addRow(t, b, e, 0)
	addRow(t, b, e, 2)
	addRow(t, b, e, 3) // the last one of its piece
	if !b.Has(1) || b.RowsAtHand() != 3 {
		t.Errorf("%d rows at hand, piece 1 held is %v; want 3, true", b.RowsAtHand(), b.Has(1))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := su.open(t, dir, 0).Block(e.ID())
	if err != nil {
		t.Fatal(err)
	}
	if !b.Has(1) || b.RowsAtHand() != 2 {
		t.Errorf("after a restart %d rows at hand, piece 1 held is %v; want 2, true", b.RowsAtHand(), b.Has(1))
	}
}

func (su suite[S, B]) wrongRowsAreRefused(t *testing.T) {
	e := Encode(t, 3, 20*erasure.RowSize)
	b := su.put(t, su.open(t, t.TempDir(), 0), e.Bundle)
	data, path := e.Row(t, 7)
	bad := bytes.Clone(data)
	bad[100] ^= 1
	var wrong *erasure.RowError
	for name, err := range map[string]error{
		"changed":       b.AddRow(t.Context(), 7, bad, path),
		"another's":     b.AddRow(t.Context(), 8, data, path),
		"no path":       b.AddRow(t.Context(), 7, data, nil),
		"too short":     b.AddRow(t.Context(), 7, data[1:], path),
		"beyond":        b.AddRow(t.Context(), 40, data, path),
		"before itself": b.AddRow(t.Context(), -1, data, path),
	} {
		if !errors.As(err, &wrong) {
			t.Errorf("%s: got %v, want a RowError", name, err)
		}
	}
	if n := b.RowsAtHand(); n != 0 {
		t.Errorf("%d rows at hand, want none", n)
	}
}

// looseRowsOutlastALiar writes garbage over a whole piece of which one row
// is verified: that row stays, so only the other has to come again.
func (su suite[S, B]) looseRowsOutlastALiar(t *testing.T) {
	e := Encode(t, 4, 600*erasure.RowSize)
	b := su.put(t, su.open(t, t.TempDir(), 0), e.Bundle)
	addRow(t, b, e, 10)
	if _, err := b.WritePieceAt(5, Content(9, 2*erasure.RowSize), 0); err != nil {
		t.Fatal(err)
	}
	if err := b.CommitPiece(t.Context(), 5); err == nil {
		t.Fatal("garbage was committed")
	}
	if n := b.RowsAtHand(); n != 1 {
		t.Errorf("%d rows at hand, want the verified one", n)
	}
	addRow(t, b, e, 11)
	if !b.Has(5) {
		t.Error("the piece is not held though both its rows came")
	}
}

func (su suite[S, B]) droppedPiecesLoseTheirLooseRows(t *testing.T) {
	e := Encode(t, 5, 600*erasure.RowSize)
	b := su.put(t, su.open(t, t.TempDir(), 0), e.Bundle)
	addRow(t, b, e, 10)
	if err := b.DropPieces(t.Context(), erasure.AllPieces(b.Geometry().Pieces())); err != nil {
		t.Fatal(err)
	}
	if n := b.RowsAtHand(); n != 0 {
		t.Errorf("%d rows at hand, want none", n)
	}
}
