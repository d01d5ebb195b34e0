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

// writeList writes a deny list as an editor does that does not rename.
func writeList(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestADenyListIsInForceOnceItRests(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deny")
	const old = "namespace a\n"
	writeList(t, path, old)
	d, err := node.OpenDenier(path)
	if err != nil {
		t.Fatal(err)
	}
	look := func(what, namespace string, count int) {
		t.Helper()
		if err := d.Look(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if l := d.List(); len(l.Namespaces) != count || count > 0 && !l.Namespaces[namespace] {
			t.Errorf("%s: %v is denied", what, l.Namespaces)
		}
	}
	look("unchanged", "a", 1)
	writeList(t, path, "")
	look("truncated", "a", 1)
	writeList(t, path, "namespace bc\n")
	look("written", "a", 1)
	look("at rest", "bc", 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	look("removed", "bc", 1)
	writeList(t, path, "namespace def\n")
	look("replaced", "bc", 1)
	look("at rest again", "def", 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	look("removed for good", "def", 1)
	look("gone", "", 0)
}

func TestADenyListThatCannotBeReadIsReadLater(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads every file")
	}
	path := filepath.Join(t.TempDir(), "deny")
	writeList(t, path, "namespace a\n")
	d, err := node.OpenDenier(path)
	if err != nil {
		t.Fatal(err)
	}
	writeList(t, path, "namespace bc\n")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	_ = d.Look() // the first of two
	if err := d.Look(); !errors.Is(err, node.ErrDenyList) {
		t.Errorf("unreadable: %v, want ErrDenyList", err)
	}
	if !d.List().Namespaces["a"] || d.Err() == "" {
		t.Errorf("unreadable: %v is denied, and the status says %q", d.List().Namespaces, d.Err())
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Look(); err != nil {
		t.Error(err)
	}
	if !d.List().Namespaces["bc"] || d.Err() != "" {
		t.Errorf("readable again: %v is denied, and the status says %q", d.List().Namespaces, d.Err())
	}
}

// TestNothingIsFetchedWhoseAnnouncerCannotBeKnown: with publishers denied, and a
// ledger that nobody answers for.
func TestNothingIsFetchedWhoseAnnouncerCannotBeKnown(t *testing.T) {
	dir := t.TempDir()
	writeList(t, filepath.Join(dir, "deny"), "publisher "+strings.Repeat("0c", 32)+"\n")
	n := openAlone(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := n.Fetch(ctx, node.Ref{ID: erasure.ID{1}}, node.FetchOptions{}, nil)
	if !errors.Is(err, node.ErrOffline) || !strings.Contains(err.Error(), "who announced") {
		t.Errorf("got %v, want ErrOffline: who announced it is not known", err)
	}
}
