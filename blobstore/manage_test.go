package blobstore_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"granary/blobstore"
	"granary/erasure"
)

func TestSecondOpenerIsLockedOut(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, blobstore.Config{})
	_, err := blobstore.Open(t.Context(), dir, blobstore.Config{})
	wantErr(t, "second open", err, blobstore.ErrLocked)
	if err != nil && !strings.Contains(err.Error(), filepath.Join(dir, "index.db")) {
		t.Errorf("%q does not name the file", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, blobstore.Config{})
}

func TestResolveFindsUniquePrefixes(t *testing.T) {
	e := encode(t, 1, 100)
	s := open(t, t.TempDir(), blobstore.Config{})
	put(t, s, e.bundle)
	hex := e.id().String()
	for _, good := range []string{hex, hex[:8], hex[:9], strings.ToUpper(hex[:20])} {
		if id, err := s.Resolve(good); err != nil || id != e.id() {
			t.Errorf("%q: %s, %v", good, id, err)
		}
	}
	last := byte('0')
	if hex[8] == '0' {
		last = '1'
	}
	for _, bad := range []string{"", hex[:7], hex + "0", hex[:8] + string(last), "zzzzzzzz", hex[:8] + "é", hex[:8] + "g", "../../etc"} {
		_, err := s.Resolve(bad)
		wantErr(t, bad, err, blobstore.ErrNotFound)
	}
}

func TestPutLearnsTheProof(t *testing.T) {
	dir := t.TempDir()
	e := encode(t, 2, 5*erasure.RowSize)
	unproven := e.bundle
	unproven.Proof = nil
	s := open(t, dir, blobstore.Config{})
	b := put(t, s, unproven)
	hold(t, b, e, 3)
	if again := put(t, s, e.bundle); again != b {
		t.Error("another block for the same ID")
	}
	if !bytes.Equal(b.Bundle().Proof, e.bundle.Proof) {
		t.Error("proof not learnt")
	}
	if _, _, err := b.Row(3); err != nil {
		t.Errorf("row of a piece held before the proof: %v", err)
	}
	put(t, s, unproven) // and does not forget it
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, blobstore.Config{})
	if b, err := s.Block(e.id()); err != nil || !bytes.Equal(b.Bundle().Proof, e.bundle.Proof) || !b.Has(3) {
		t.Errorf("proof or piece forgotten: %v", err)
	}
}

func TestPutRefusesBadBundles(t *testing.T) {
	s := open(t, t.TempDir(), blobstore.Config{})
	e, other := encode(t, 3, 5*erasure.RowSize), encode(t, 4, 5*erasure.RowSize)
	for name, change := range map[string]func(*erasure.Bundle){
		"proof":      func(b *erasure.Bundle) { b.Proof = other.bundle.Proof },
		"layers":     func(b *erasure.Bundle) { b.Layers = other.bundle.Layers },
		"no layers":  func(b *erasure.Bundle) { b.Layers = erasure.Layers{} },
		"name":       func(b *erasure.Bundle) { b.Info.Name = "../x" },
		"no length":  func(b *erasure.Bundle) { b.Info.Length = 0 },
		"long":       func(b *erasure.Bundle) { b.Info.Length = erasure.MaxLength + 1 },
		"zero value": func(b *erasure.Bundle) { *b = erasure.Bundle{} },
	} {
		b := e.bundle
		change(&b)
		if _, err := s.Put(t.Context(), b); err == nil {
			t.Errorf("%s: put", name)
		}
	}
	if n := len(s.Blocks()); n != 0 {
		t.Errorf("%d blocks", n)
	}
}

func TestImportRefuses(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, blobstore.Config{})
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
	names, err := os.ReadDir(filepath.Join(dir, "blocks"))
	if err != nil || len(names) > 0 {
		t.Errorf("left behind: %v (%v)", names, err)
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// countingReader never ends.
type countingReader struct{ n int64 }

func (r *countingReader) Read(p []byte) (int, error) {
	r.n += int64(len(p))
	return len(p), nil
}

func TestImportCompletesAPartialBlock(t *testing.T) {
	e := encode(t, 5, 600*erasure.RowSize+9)
	unproven := e.bundle
	unproven.Proof = nil
	s := open(t, t.TempDir(), blobstore.Config{})
	b := put(t, s, unproven)
	hold(t, b, e, 2, 301, 400)
	var last, end int64
	got, err := s.Import(t.Context(), "block", bytes.NewReader(e.content), func(done, total int64) { last, end = done, total })
	if err != nil || got != b || !b.Whole() {
		t.Fatalf("import: %v", err)
	}
	if last == 0 || last != end {
		t.Errorf("progress ended at %d of %d", last, end)
	}
	if content, err := io.ReadAll(b.Content()); err != nil || !bytes.Equal(content, e.content) {
		t.Errorf("content differs (%v)", err)
	}
	if again, err := s.Import(t.Context(), "block", bytes.NewReader(e.content), nil); err != nil || again != b {
		t.Errorf("second import: %v", err)
	}
}

func TestDropGivesSpaceBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, blobstore.Config{})
	e := encode(t, 6, 64*erasure.RowSize)
	b, err := s.Import(t.Context(), "block", bytes.NewReader(e.content), nil)
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	drop := erasure.NewPieceSet(128)
	for p := 64; p < 128; p++ {
		drop.Add(p)
	}
	if err := b.DropPieces(t.Context(), drop); err != nil {
		t.Fatal(err)
	}
	after, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if saved := before.Bytes - after.Bytes; saved < 63*erasure.RowSize {
		t.Errorf("%d bytes given back, want about %d", saved, 64*erasure.RowSize)
	}
	if b.Whole() || b.Rows() != 64 {
		t.Errorf("whole %v, %d rows", b.Whole(), b.Rows())
	}
	_, err = b.ReadPieceAt(70, make([]byte, 5), 0)
	wantErr(t, "read of a dropped piece", err, blobstore.ErrNotHeld)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, blobstore.Config{})
	if b, err = s.Block(e.id()); err != nil || b.Rows() != 64 {
		t.Fatalf("after restart: %v", err)
	}
	if err := b.Complete(t.Context(), nil); err != nil || !b.Whole() {
		t.Errorf("parity made anew: %v", err)
	}
}

func TestDeleteRemovesBlockAndNotes(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, blobstore.Config{})
	e, other := encode(t, 7, 100), encode(t, 8, 100)
	b, kept := put(t, s, e.bundle), put(t, s, other.bundle)
	for _, b := range []*blobstore.Block{b, kept} {
		for _, key := range []string{"a", "b"} {
			if err := b.SetNote(t.Context(), key, []byte("note "+key)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := string(b.Note("b")); got != "note b" {
		t.Errorf("note: %q", got)
	}
	if err := s.Delete(t.Context(), e.id()); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "second delete", s.Delete(t.Context(), e.id()), blobstore.ErrNotFound)
	_, err := s.Block(e.id())
	wantErr(t, "block", err, blobstore.ErrNotFound)
	_, err = b.ReadPieceAt(0, make([]byte, 1), 0)
	wantErr(t, "read", err, blobstore.ErrNotFound)
	wantErr(t, "note", b.SetNote(t.Context(), "c", []byte("x")), blobstore.ErrNotFound)
	if _, err := os.Stat(filepath.Join(dir, "blocks", e.id().String())); !os.IsNotExist(err) {
		t.Errorf("folder: %v", err)
	}
	b = put(t, s, e.bundle)
	if b.Note("a") != nil || b.Held().Count() != 0 {
		t.Error("the deleted block came back")
	}
	if string(kept.Note("a")) != "note a" {
		t.Error("another block's note went with it")
	}
}

func TestNotesAreBounded(t *testing.T) {
	s := open(t, t.TempDir(), blobstore.Config{})
	b := put(t, s, encode(t, 9, 100).bundle)
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
