package node_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"granary/blobstore"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
)

// TestADamagedDescriptionMakesNoTorrent: nobody could fetch with it.
func TestADamagedDescriptionMakesNoTorrent(t *testing.T) {
	dir := t.TempDir()
	open := func() *blobstore.Store {
		t.Helper()
		s, err := blobstore.Open(t.Context(), dir, blobstore.Config{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	b, err := s.Import(t.Context(), "block", strings.NewReader(strings.Repeat("text ", erasure.RowSize)), nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := node.Torrent(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := erasure.ParseTorrent(raw); err != nil {
		t.Error(err)
	}
	layers := filepath.Join(dir, "blocks", b.ID().String(), "layers")
	data, err := os.ReadFile(layers)
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	data[0] ^= 1
	if err := os.WriteFile(layers, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer s.Close()
	if b, err = s.Block(b.ID()); err != nil {
		t.Fatal(err)
	}
	if raw, err := node.Torrent(b); err == nil {
		t.Errorf("%d bytes without an error", len(raw))
	}
}
