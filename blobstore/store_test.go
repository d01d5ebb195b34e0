package blobstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"granary/blobstore"
	"granary/erasure"
)

// content returns length bytes that depend on seed only.
func content(seed uint64, length int) []byte {
	b := make([]byte, length)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

// encoded is a block as its publisher has it.
type encoded struct {
	content []byte
	bundle  erasure.Bundle
	files   [2][]byte // content and parity, padded
}

type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

func encode(t testing.TB, seed uint64, length int) encoded {
	t.Helper()
	e, err := newEncoded(t.Context(), seed, length)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func newEncoded(ctx context.Context, seed uint64, length int) (encoded, error) {
	g, err := erasure.NewGeometry(int64(length))
	if err != nil {
		return encoded{}, err
	}
	e := encoded{content: content(seed, length)}
	e.files[0] = make([]byte, g.PaddedLength())
	copy(e.files[0], e.content)
	e.files[1] = make([]byte, g.PaddedLength())
	e.bundle, err = erasure.Commit(ctx, "block", int64(length), bytes.NewReader(e.files[0]), memory(e.files[1]), nil)
	return e, err
}

func (e encoded) id() erasure.ID { return e.bundle.Info.ID() }

func (e encoded) geometry() erasure.Geometry { return e.bundle.Info.Geometry() }

// piece returns the bytes of a piece.
func (e encoded) piece(p int) []byte {
	g := e.geometry()
	first, rows := g.PieceSpan(p)
	return e.files[first/g.K()][first%g.K()*erasure.RowSize:][:rows*erasure.RowSize]
}

func open(t testing.TB, dir string, cfg blobstore.Config) *blobstore.Store {
	t.Helper()
	s, err := blobstore.Open(t.Context(), dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t testing.TB, s *blobstore.Store, b erasure.Bundle) *blobstore.Block {
	t.Helper()
	block, err := s.Put(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// hold writes and commits pieces.
func hold(t testing.TB, b *blobstore.Block, e encoded, pieces ...int) {
	t.Helper()
	for _, p := range pieces {
		if _, err := b.WritePieceAt(p, e.piece(p), 0); err != nil {
			t.Fatal(err)
		}
		if err := b.CommitPiece(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestImportedBlockReadsBackAfterRestart(t *testing.T) {
	dir := t.TempDir()
	e := encode(t, 1, 5*erasure.RowSize+77)
	s := open(t, dir, blobstore.Config{})
	b, err := s.Import(t.Context(), "block", bytes.NewReader(e.content), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.ID() != e.id() {
		t.Fatalf("imported %s, want %s", b.ID(), e.id())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir, blobstore.Config{})
	b, err = s.Block(e.id())
	if err != nil {
		t.Fatal(err)
	}
	if !b.Whole() || b.Rows() != e.geometry().Rows() {
		t.Errorf("whole %v with %d rows, want all %d", b.Whole(), b.Rows(), e.geometry().Rows())
	}
	got, err := io.ReadAll(b.Content())
	if err != nil || !bytes.Equal(got, e.content) {
		t.Errorf("content differs (%v)", err)
	}
	if err := b.Bundle().Check(); err != nil || b.Bundle().Proof == nil {
		t.Errorf("bundle: %v, proof of %d bytes", err, len(b.Bundle().Proof))
	}
	for p := range e.geometry().Pieces() {
		buf := make([]byte, len(e.piece(p)))
		if _, err := b.ReadPieceAt(p, buf, 0); err != nil || !bytes.Equal(buf, e.piece(p)) {
			t.Errorf("piece %d differs (%v)", p, err)
		}
	}
	v, err := erasure.NewVerifier(e.bundle.Info, e.bundle.Proof)
	if err != nil {
		t.Fatal(err)
	}
	for r := range e.geometry().Rows() {
		row, path, err := b.Row(r)
		if err == nil {
			err = v.Row(r, row, path)
		}
		if err != nil {
			t.Errorf("row %d: %v", r, err)
		}
	}
}

func TestFolderHoldsPlainFiles(t *testing.T) {
	dir := t.TempDir()
	e := encode(t, 2, 3*erasure.RowSize)
	s := open(t, dir, blobstore.Config{})
	if _, err := s.Import(t.Context(), "block", bytes.NewReader(e.content), nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{
		"info": e.bundle.Info.Encode(), "proof": e.bundle.Proof, "layers": e.bundle.Layers.Encode(),
		"content": e.files[0], "parity": e.files[1],
	} {
		got, err := os.ReadFile(filepath.Join(dir, "blocks", e.id().String(), name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from the specification (%v)", name, err)
		}
	}
}

func TestCompleteMakesWholeFromAnyHalf(t *testing.T) {
	for _, k := range []int{1, 2, 33, 200, 777} {
		e := encode(t, uint64(k), k*erasure.RowSize-5)
		dir := t.TempDir()
		s := open(t, dir, blobstore.Config{})
		unproven := e.bundle
		unproven.Proof = nil
		b := put(t, s, unproven)
		g := e.geometry()
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
		if !b.Whole() || !bytes.Equal(b.Bundle().Proof, e.bundle.Proof) {
			t.Errorf("k=%d: whole %v, proof of %d bytes", k, b.Whole(), len(b.Bundle().Proof))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, blobstore.Config{})
		if b, err := s.Block(e.id()); err != nil || !b.Whole() || b.Bundle().Proof == nil {
			t.Fatalf("k=%d: not whole after restart: %v", k, err)
		}
		for i, name := range []string{"content", "parity"} {
			got, err := os.ReadFile(filepath.Join(dir, "blocks", e.id().String(), name))
			if err != nil || !bytes.Equal(got, e.files[i]) {
				t.Errorf("k=%d: %s differs (%v)", k, name, err)
			}
		}
	}
}

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
