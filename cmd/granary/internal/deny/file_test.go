package deny_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"granary/cmd/granary/internal/deny"
)

// writeList writes a deny list as an editor does that does not rename.
func writeList(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// look is what a node does every two seconds.
func look(f *deny.File) error {
	_, _, err := f.Reload()
	return err
}

func TestADenyListIsInForceOnceItRests(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deny")
	const old = "namespace a\n"
	writeList(t, path, old)
	f, err := deny.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	step := func(what, namespace string, count int) {
		t.Helper()
		if err := look(f); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if l := f.List(); len(l.Namespaces) != count || count > 0 && !l.Namespaces[namespace] {
			t.Errorf("%s: %v is denied", what, l.Namespaces)
		}
	}
	step("unchanged", "a", 1)
	writeList(t, path, "")
	step("truncated", "a", 1)
	writeList(t, path, "namespace bc\n")
	step("written", "a", 1)
	step("at rest", "bc", 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	step("removed", "bc", 1)
	writeList(t, path, "namespace def\n")
	step("replaced", "bc", 1)
	step("at rest again", "def", 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	step("removed for good", "def", 1)
	step("gone", "", 0)
}

func TestADenyListThatCannotBeReadIsReadLater(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads every file")
	}
	path := filepath.Join(t.TempDir(), "deny")
	writeList(t, path, "namespace a\n")
	f, err := deny.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	writeList(t, path, "namespace bc\n")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	_ = look(f) // the first of two
	if err := look(f); !errors.Is(err, deny.ErrList) {
		t.Errorf("unreadable: %v, want ErrList", err)
	}
	if !f.List().Namespaces["a"] || f.Status().Err == "" {
		t.Errorf("unreadable: %v is denied, and the status says %q", f.List().Namespaces, f.Status().Err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := look(f); err != nil {
		t.Error(err)
	}
	if !f.List().Namespaces["bc"] || f.Status().Err != "" {
		t.Errorf("readable again: %v is denied, and the status says %q", f.List().Namespaces, f.Status().Err)
	}
}
