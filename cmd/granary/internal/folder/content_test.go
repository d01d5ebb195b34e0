package folder_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"granary/cmd/granary/internal/folder"
)

func write(t *testing.T, bytes int) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(path, make([]byte, bytes), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// changes are what another program may do to a file of a megabyte.
var changes = map[string]func(path string) error{
	"cut":        func(path string) error { return os.Truncate(path, 1000) },
	"made empty": func(path string) error { return os.Truncate(path, 0) },
	"longer":     func(path string) error { return os.Truncate(path, 2<<20) },
	"rewritten":  func(path string) error { return os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)) },
}

func TestContentThatChangesIsNoContent(t *testing.T) {
	for what, change := range changes {
		path := write(t, 1<<20)
		c, err := folder.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, folder.ErrChanged) {
			t.Errorf("%s: read with error %v, want %v", what, err, folder.ErrChanged)
		}
		if !errors.Is(c.Err(), folder.ErrChanged) {
			t.Errorf("%s: remembers error %v, want %v", what, c.Err(), folder.ErrChanged)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestContentThatRestsIsReadWhole(t *testing.T) {
	c, err := folder.Open(write(t, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := io.Copy(io.Discard, c); n != 1<<20 || err != nil || c.Err() != nil {
		t.Errorf("%d bytes, errors %v and %v", n, err, c.Err())
	}
}

func TestFileThatChangesIsNotInspected(t *testing.T) {
	for what, change := range changes {
		path := write(t, 1<<20)
		var changed error
		progress := func(done, total int64) {
			if done < total { // once: a megabyte is told of twice
				changed = change(path)
			}
		}
		_, err := folder.Inspect(t.Context(), path, "", progress)
		if !errors.Is(err, folder.ErrChanged) {
			t.Errorf("%s: error %v, want %v", what, err, folder.ErrChanged)
		}
		if changed != nil {
			t.Error(changed)
		}
	}
}

func TestFolderIsNoContent(t *testing.T) {
	if _, err := folder.Open(t.TempDir()); !errors.Is(err, folder.ErrFolder) {
		t.Errorf("error %v, want %v", err, folder.ErrFolder)
	}
}
