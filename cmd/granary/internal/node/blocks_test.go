package node_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"granary/blobstore"
	"granary/erasure"
)

func openStore(t *testing.T) *blobstore.Store {
	t.Helper()
	s, err := blobstore.Open(t.Context(), t.TempDir(), blobstore.Config{})
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

// publishedBlock is a whole block, and an empty one of the same bundle in
// another store.
func publishedBlock(t *testing.T, rows int) (content []byte, whole, empty *blobstore.Block) {
	t.Helper()
	content = make([]byte, rows*erasure.RowSize-3)
	_, _ = rand.NewChaCha8([32]byte{byte(rows)}).Read(content)
	whole, err := openStore(t).Import(t.Context(), "block", bytes.NewReader(content), nil)
	if err != nil {
		t.Fatal(err)
	}
	empty, err = openStore(t).Put(t.Context(), whole.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	return content, whole, empty
}
