package blobstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"granary/blobstore"
	"granary/blobstore/storetest"
	"granary/erasure"
)

type encoded = storetest.Encoded

func content(seed uint64, length int) []byte { return storetest.Content(seed, length) }

func encode(t testing.TB, seed uint64, length int) encoded {
	t.Helper()
	return storetest.Encode(t, seed, length)
}

// TestContract holds the store to what every store owes its callers.
func TestContract(t *testing.T) {
	storetest.Run(t, func(ctx context.Context, dir string, quota int64) (*blobstore.Store, error) {
		return blobstore.Open(ctx, dir, blobstore.Config{Quota: quota})
	})
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
		if _, err := b.WritePieceAt(p, e.Piece(p), 0); err != nil {
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

func TestFolderHoldsPlainFiles(t *testing.T) {
	dir := t.TempDir()
	e := encode(t, 2, 3*erasure.RowSize)
	s := open(t, dir, blobstore.Config{})
	if _, err := s.Import(t.Context(), "block", bytes.NewReader(e.Content), nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{
		"info": e.Bundle.Info.Encode(), "proof": e.Bundle.Proof, "layers": e.Bundle.Layers.Encode(),
		"content": e.Files[0], "parity": e.Files[1],
	} {
		got, err := os.ReadFile(filepath.Join(dir, "blocks", e.ID().String(), name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from the specification (%v)", name, err)
		}
	}
}

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
