package config_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"granary/cmd/granary/internal/config"
)

// A home deep in the tree is reached through a folder that its own node made, so
// nobody else can wait there in its place.
func TestSocketOfADeepHomeIsItsOwn(t *testing.T) {
	home := filepath.Join(t.TempDir(), strings.Repeat("deep/", 30))
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	before := config.Socket(home)
	if filepath.Dir(before) != filepath.Clean(home) {
		t.Errorf("where no node ever ran it is looked for at %s", before)
	}
	var old string
	for life := range 2 {
		path, remove, err := config.NewSocket(home)
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(filepath.Dir(path))
		if st, err := os.Stat(filepath.Dir(path)); err != nil || st.Mode().Perm() != 0o700 || path == old {
			t.Errorf("the node listens at %s (before: %s): %v, %v", path, old, st, err)
		}
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false) // it is killed
		if got := config.Socket(home); got != path {
			t.Errorf("others look for the node at %s, it listens at %s", got, path)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(old); old != "" && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket before is left: %v", err)
		}
		old = path
		if life == 0 {
			continue
		}
		if err := remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, fs.ErrNotExist) || config.Socket(home) != before {
			t.Errorf("after the end: %v, and the node is looked for at %s", err, config.Socket(home))
		}
	}
	if home := t.TempDir(); config.Socket(home) != filepath.Join(home, "node.sock") && len(home) < 90 {
		t.Errorf("a short home's socket is %s", config.Socket(home))
	}
}
