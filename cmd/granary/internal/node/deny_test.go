package node_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"granary/cmd/granary/internal/node"
	"granary/erasure"
)

// TestNothingIsFetchedWhoseAnnouncerCannotBeKnown: with publishers denied, and a
// ledger that nobody answers for.
func TestNothingIsFetchedWhoseAnnouncerCannotBeKnown(t *testing.T) {
	dir := t.TempDir()
	list := "publisher " + strings.Repeat("0c", 32) + "\n"
	if err := os.WriteFile(filepath.Join(dir, "deny"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	n := openAlone(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := n.Fetch(ctx, node.Ref{ID: erasure.ID{1}}, node.FetchOptions{}, nil)
	if !errors.Is(err, node.ErrOffline) || !strings.Contains(err.Error(), "who announced") {
		t.Errorf("got %v, want ErrOffline: who announced it is not known", err)
	}
}
