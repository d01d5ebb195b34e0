package blobstore_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"granary/blobstore"
	"granary/erasure"
)

func TestLockedOutOpenerIsToldWhichFile(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, blobstore.Config{})
	_, err := blobstore.Open(t.Context(), dir, blobstore.Config{})
	wantErr(t, "second open", err, blobstore.ErrLocked)
	if err != nil && !strings.Contains(err.Error(), filepath.Join(dir, "index.db")) {
		t.Errorf("%q does not name the file", err)
	}
}

func TestResolveFindsUniquePrefixes(t *testing.T) {
	e := encode(t, 1, 100)
	s := open(t, t.TempDir(), blobstore.Config{})
	put(t, s, e.Bundle)
	hex := e.ID().String()
	for _, good := range []string{hex, hex[:8], hex[:9], strings.ToUpper(hex[:20])} {
		if id, err := s.Resolve(good); err != nil || id != e.ID() {
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

func TestDropGivesSpaceBackToTheDisk(t *testing.T) {
	s := open(t, t.TempDir(), blobstore.Config{})
	e := encode(t, 6, 64*erasure.RowSize)
	b, err := s.Import(t.Context(), "block", bytes.NewReader(e.Content), nil)
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
}
