package node_test

import (
	"os"
	"path/filepath"
	"testing"

	"granary/cmd/granary/internal/node"
)

func TestScratchOfACrashedTestIsRemoved(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".verify-123", "verify", "bans.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := node.RemoveScratch(dir); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("%d files are left, want 2; %v", len(left), err)
	}
}
