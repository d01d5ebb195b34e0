package storetest

import (
	"bytes"
	"errors"
	"testing"

	"granary/blobstore"
	"granary/erasure"
)

func (su suite[S, B]) secondOpenerIsLockedOut(t *testing.T) {
	dir := t.TempDir()
	s := su.open(t, dir, 0)
	_, err := su.opener(t.Context(), dir, 0)
	wantErr(t, "second open", err, blobstore.ErrLocked)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	su.open(t, dir, 0)
}

// uncommittedBytesAreForgotten: they were never acknowledged, and take no room. A
// store may find pieces that are there whole; these are not.
func (su suite[S, B]) uncommittedBytesAreForgotten(t *testing.T) {
	e := Encode(t, 39, 64*erasure.RowSize)
	dir := t.TempDir()
	s := su.open(t, dir, 16<<20)
	b := su.put(t, s, e.Bundle)
	hold(t, b, e, 3)
	before := su.free(t, s)
	for p := range 60 {
		if p == 3 {
			continue
		}
		wrong := bytes.Clone(e.Piece(p))
		wrong[len(wrong)-1] ^= 1
		if _, err := b.WritePieceAt(p, wrong, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = su.open(t, dir, 16<<20)
	b, err := s.Block(e.ID())
	if err != nil || b.Held().Count() != 1 || !b.Has(3) {
		t.Fatalf("%d pieces held, want 3 only (%v)", b.Held().Count(), err)
	}
	if free := su.free(t, s); free < before-5*erasure.RowSize {
		t.Errorf("%d bytes are free with one piece held, %d before", free, before)
	}
	_, err = b.ReadPieceAt(4, make([]byte, 1), 0)
	wantErr(t, "read", err, blobstore.ErrNotHeld)
}

func (su suite[S, B]) free(t *testing.T, s S) int64 {
	t.Helper()
	n, err := s.Free()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (su suite[S, B]) droppedPiecesGiveTheirRoomBack(t *testing.T) {
	e := Encode(t, 6, 64*erasure.RowSize)
	dir := t.TempDir()
	s := su.open(t, dir, 16<<20)
	b, err := s.Import(t.Context(), "block", bytes.NewReader(e.Content), nil)
	if err != nil {
		t.Fatal(err)
	}
	before := su.free(t, s)
	drop := erasure.NewPieceSet(128)
	for p := 64; p < 128; p++ {
		drop.Add(p)
	}
	if err := b.DropPieces(t.Context(), drop); err != nil {
		t.Fatal(err)
	}
	if back := su.free(t, s) - before; back != 64*erasure.RowSize {
		t.Errorf("%d bytes given back, want %d", back, 64*erasure.RowSize)
	}
	if b.Whole() || b.Rows() != 64 {
		t.Errorf("whole %v, %d rows", b.Whole(), b.Rows())
	}
	_, err = b.ReadPieceAt(70, make([]byte, 5), 0)
	wantErr(t, "read of a dropped piece", err, blobstore.ErrNotHeld)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = su.open(t, dir, 16<<20)
	if b, err = s.Block(e.ID()); err != nil || b.Rows() != 64 {
		t.Fatalf("after restart: %v", err)
	}
	if err := b.Complete(t.Context(), nil); err != nil || !b.Whole() {
		t.Errorf("parity made anew: %v", err)
	}
	checkPieces(t, b, e)
}

// quotaRefusesBeforeItIsPassed: Free never falls below zero, whoever writes,
// and a refusal takes nothing.
func (su suite[S, B]) quotaRefusesBeforeItIsPassed(t *testing.T) {
	const quota = 3 << 20
	e := Encode(t, 50, 200*erasure.RowSize)
	s := su.open(t, t.TempDir(), quota)
	empty := su.free(t, s)
	b := su.put(t, s, e.Bundle)
	var full error
	for p := range e.Geometry().Pieces() {
		before := su.free(t, s)
		if _, full = b.WritePieceAt(p, e.Piece(p), 0); full != nil {
			if after := su.free(t, s); after != before {
				t.Errorf("a refused write took %d bytes", before-after)
			}
			break
		}
		if err := b.CommitPiece(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if free := su.free(t, s); free < 0 {
			t.Fatalf("%d bytes beyond the quota", -free)
		}
	}
	var q *blobstore.QuotaError
	if !errors.As(full, &q) || q.Need <= q.Free || q.Free < 0 {
		t.Fatalf("refused with %v", full)
	}
	if b.Bytes() > quota || b.Bytes() < quota/2 {
		t.Errorf("the block counts %d bytes of a quota of %d", b.Bytes(), quota)
	}
	before := su.free(t, s)
	_, err := s.Import(t.Context(), "block", bytes.NewReader(make([]byte, 1<<20)), nil)
	wantErr(t, "import", err, blobstore.ErrQuota)
	_, err = s.Put(t.Context(), Encode(t, 51, 16000*erasure.RowSize/16).Bundle)
	wantErr(t, "put", err, blobstore.ErrQuota)
	wantErr(t, "complete", b.Complete(t.Context(), nil), erasure.ErrTooFewRows)
	if after := su.free(t, s); after != before || len(s.Blocks()) != 1 {
		t.Errorf("refusals took %d bytes and left %d blocks", before-after, len(s.Blocks()))
	}
	checkPieces(t, b, e)
	if err := s.Delete(t.Context(), e.ID()); err != nil {
		t.Fatal(err)
	}
	// Less by what an index has grown.
	if free := su.free(t, s); free < empty-256<<10 {
		t.Errorf("%d bytes are free after all was deleted, %d at first", free, empty)
	}
}
