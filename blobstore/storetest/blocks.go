package storetest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"granary/blobstore"
	"granary/erasure"
)

func (su suite[S, B]) importedBlockReadsBackAfterRestart(t *testing.T) {
	dir := t.TempDir()
	e := Encode(t, 1, 5*erasure.RowSize+77)
	s := su.open(t, dir, 0)
	b, err := s.Import(t.Context(), "block", bytes.NewReader(e.Content), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.ID() != e.ID() {
		t.Fatalf("imported %s, want %s", b.ID(), e.ID())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = su.open(t, dir, 0)
	b, err = s.Block(e.ID())
	if err != nil {
		t.Fatal(err)
	}
	if !b.Whole() || b.Rows() != e.Geometry().Rows() {
		t.Errorf("whole %v with %d rows, want all %d", b.Whole(), b.Rows(), e.Geometry().Rows())
	}
	got, err := io.ReadAll(b.Content())
	if err != nil || !bytes.Equal(got, e.Content) {
		t.Errorf("content differs (%v)", err)
	}
	if err := b.Bundle().Check(); err != nil || b.Bundle().Proof == nil {
		t.Errorf("bundle: %v, proof of %d bytes", err, len(b.Bundle().Proof))
	}
	for p := range e.Geometry().Pieces() {
		buf := make([]byte, len(e.Piece(p)))
		if _, err := b.ReadPieceAt(p, buf, 0); err != nil || !bytes.Equal(buf, e.Piece(p)) {
			t.Errorf("piece %d differs (%v)", p, err)
		}
	}
	v, err := erasure.NewVerifier(e.Bundle.Info, e.Bundle.Proof)
	if err != nil {
		t.Fatal(err)
	}
	for r := range e.Geometry().Rows() {
		row, path, err := b.Row(r)
		if err == nil {
			err = v.Row(r, row, path)
		}
		if err != nil {
			t.Errorf("row %d: %v", r, err)
		}
	}
}

func (su suite[S, B]) completeMakesWholeFromAnyHalf(t *testing.T) {
	for _, k := range []int{1, 2, 33, 200, 777} {
		e := Encode(t, uint64(k), k*erasure.RowSize-5)
		dir := t.TempDir()
		s := su.open(t, dir, 0)
		unproven := e.Bundle
		unproven.Proof = nil
		b := su.put(t, s, unproven)
		g := e.Geometry()
		order := rand.New(rand.NewPCG(1, uint64(k))).Perm(g.Pieces())
		if k == 1 {
			order = []int{1}
		}
		for _, p := range order {
			if b.Rows() >= k {
				break
			}
			var few *erasure.TooFewRowsError
			if err := b.Complete(t.Context(), nil); !errors.As(err, &few) || few.Need != k {
				t.Fatalf("k=%d: completed with %d rows: %v", k, b.Rows(), err)
			}
			hold(t, b, e, p)
		}
		if _, _, err := b.Row(0); !errors.Is(err, blobstore.ErrNotHeld) {
			t.Errorf("k=%d: row served without a proof: %v", k, err)
		}
		if err := b.Complete(t.Context(), nil); err != nil {
			t.Fatalf("k=%d: %v", k, err)
		}
		if !b.Whole() || !bytes.Equal(b.Bundle().Proof, e.Bundle.Proof) {
			t.Errorf("k=%d: whole %v, proof of %d bytes", k, b.Whole(), len(b.Bundle().Proof))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = su.open(t, dir, 0)
		b, err := s.Block(e.ID())
		if err != nil || !b.Whole() || b.Bundle().Proof == nil {
			t.Fatalf("k=%d: not whole after restart: %v", k, err)
		}
		checkPieces(t, b, e)
		checkContent(t, b, e)
	}
}

func (su suite[S, B]) putLearnsTheProof(t *testing.T) {
	dir := t.TempDir()
	e := Encode(t, 2, 5*erasure.RowSize)
	unproven := e.Bundle
	unproven.Proof = nil
	s := su.open(t, dir, 0)
	b := su.put(t, s, unproven)
	hold(t, b, e, 3)
	if again := su.put(t, s, e.Bundle); again.ID() != b.ID() {
		t.Error("another block for the same ID")
	}
	if !bytes.Equal(b.Bundle().Proof, e.Bundle.Proof) {
		t.Error("proof not learnt")
	}
	if _, _, err := b.Row(3); err != nil {
		t.Errorf("row of a piece held before the proof: %v", err)
	}
	su.put(t, s, unproven) // and does not forget it
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = su.open(t, dir, 0)
	if b, err := s.Block(e.ID()); err != nil || !bytes.Equal(b.Bundle().Proof, e.Bundle.Proof) || !b.Has(3) {
		t.Errorf("proof or piece forgotten: %v", err)
	}
}

func (su suite[S, B]) putRefusesBadBundles(t *testing.T) {
	s := su.open(t, t.TempDir(), 0)
	e, other := Encode(t, 3, 5*erasure.RowSize), Encode(t, 4, 5*erasure.RowSize)
	for name, change := range map[string]func(*erasure.Bundle){
		"proof":      func(b *erasure.Bundle) { b.Proof = other.Bundle.Proof },
		"layers":     func(b *erasure.Bundle) { b.Layers = other.Bundle.Layers },
		"no layers":  func(b *erasure.Bundle) { b.Layers = erasure.Layers{} },
		"name":       func(b *erasure.Bundle) { b.Info.Name = "../x" },
		"no length":  func(b *erasure.Bundle) { b.Info.Length = 0 },
		"long":       func(b *erasure.Bundle) { b.Info.Length = erasure.MaxLength + 1 },
		"zero value": func(b *erasure.Bundle) { *b = erasure.Bundle{} },
	} {
		b := e.Bundle
		change(&b)
		if _, err := s.Put(t.Context(), b); err == nil {
			t.Errorf("%s: put", name)
		}
	}
	if n := len(s.Blocks()); n != 0 {
		t.Errorf("%d blocks", n)
	}
}

func (su suite[S, B]) importRefuses(t *testing.T) {
	s := su.open(t, t.TempDir(), 1<<30)
	before := su.free(t, s)
	_, err := s.Import(t.Context(), "block", bytes.NewReader(nil), nil)
	wantErr(t, "empty", err, erasure.ErrLength)
	_, err = s.Import(t.Context(), "a/b", strings.NewReader("x"), nil)
	wantErr(t, "name", err, erasure.ErrName)
	broken := errors.New("cable pulled")
	_, err = s.Import(t.Context(), "block", io.MultiReader(strings.NewReader("x"), failingReader{broken}), nil)
	wantErr(t, "reader", err, broken)
	counted := &countingReader{}
	_, err = s.Import(t.Context(), "block", counted, nil)
	wantErr(t, "endless", err, erasure.ErrLength)
	if counted.n > erasure.MaxLength+1 {
		t.Errorf("%d bytes read of an endless reader, want at most one more than a block", counted.n)
	}
	if after := su.free(t, s); after != before || len(s.Blocks()) > 0 {
		t.Errorf("refused content left %d bytes and %d blocks", before-after, len(s.Blocks()))
	}
}

func (su suite[S, B]) importCompletesAPartialBlock(t *testing.T) {
	e := Encode(t, 5, 600*erasure.RowSize+9)
	unproven := e.Bundle
	unproven.Proof = nil
	s := su.open(t, t.TempDir(), 0)
	b := su.put(t, s, unproven)
	hold(t, b, e, 2, 301, 400)
	var last, end int64
	got, err := s.Import(t.Context(), "block", bytes.NewReader(e.Content), func(done, total int64) { last, end = done, total })
	if err != nil || got.ID() != b.ID() || !b.Whole() {
		t.Fatalf("import: %v", err)
	}
	if last == 0 || last != end {
		t.Errorf("progress ended at %d of %d", last, end)
	}
	if content, err := io.ReadAll(b.Content()); err != nil || !bytes.Equal(content, e.Content) {
		t.Errorf("content differs (%v)", err)
	}
	if again, err := s.Import(t.Context(), "block", bytes.NewReader(e.Content), nil); err != nil || again.ID() != b.ID() {
		t.Errorf("second import: %v", err)
	}
}

func (su suite[S, B]) deleteRemovesBlockAndNotes(t *testing.T) {
	dir := t.TempDir()
	s := su.open(t, dir, 0)
	e, other := Encode(t, 7, 100), Encode(t, 8, 100)
	b, kept := su.put(t, s, e.Bundle), su.put(t, s, other.Bundle)
	for _, b := range []B{b, kept} {
		for _, key := range []string{"a", "b"} {
			if err := b.SetNote(t.Context(), key, []byte("note "+key)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := string(b.Note("b")); got != "note b" {
		t.Errorf("note: %q", got)
	}
	if err := s.Delete(t.Context(), e.ID()); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "second delete", s.Delete(t.Context(), e.ID()), blobstore.ErrNotFound)
	_, err := s.Block(e.ID())
	wantErr(t, "block", err, blobstore.ErrNotFound)
	_, err = b.ReadPieceAt(0, make([]byte, 1), 0)
	wantErr(t, "read", err, blobstore.ErrNotFound)
	wantErr(t, "note", b.SetNote(t.Context(), "c", []byte("x")), blobstore.ErrNotFound)
	b = su.put(t, s, e.Bundle)
	if b.Note("a") != nil || b.Held().Count() != 0 {
		t.Error("the deleted block came back")
	}
	if string(kept.Note("a")) != "note a" {
		t.Error("another block's note went with it")
	}
}

func (su suite[S, B]) notesAreBounded(t *testing.T) {
	s := su.open(t, t.TempDir(), 0)
	b := su.put(t, s, Encode(t, 9, 100).Bundle)
	wantErr(t, "no key", b.SetNote(t.Context(), "", nil), blobstore.ErrNote)
	wantErr(t, "long key", b.SetNote(t.Context(), strings.Repeat("k", 65), nil), blobstore.ErrNote)
	wantErr(t, "long value", b.SetNote(t.Context(), "k", make([]byte, 65<<10)), blobstore.ErrNote)
	if err := b.SetNote(t.Context(), "k", []byte("v")); err != nil || string(b.Note("k")) != "v" {
		t.Error(err)
	}
	if err := b.SetNote(t.Context(), "k", nil); err != nil || b.Note("k") != nil {
		t.Errorf("removed note: %q, %v", b.Note("k"), err)
	}
}

func (su suite[S, B]) goodbyeEndsEverything(t *testing.T) {
	e := Encode(t, 13, 2*erasure.RowSize)
	s := su.open(t, t.TempDir(), 0)
	b := su.put(t, s, e.Bundle)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Put(t.Context(), e.Bundle)
	wantErr(t, "put", err, blobstore.ErrClosed)
	_, err = s.Import(t.Context(), "block", bytes.NewReader(e.Content), nil)
	wantErr(t, "import", err, blobstore.ErrClosed)
	wantErr(t, "commit", b.CommitPiece(t.Context(), 0), blobstore.ErrClosed)
	wantErr(t, "complete", b.Complete(t.Context(), nil), blobstore.ErrClosed)
	wantErr(t, "delete", s.Delete(t.Context(), e.ID()), blobstore.ErrClosed)
	_, err = b.WritePieceAt(0, e.Piece(0), 0)
	wantErr(t, "write", err, blobstore.ErrClosed)
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// countingReader never ends.
type countingReader struct{ n int64 }

func (r *countingReader) Read(p []byte) (int, error) {
	r.n += int64(len(p))
	return len(p), nil
}
