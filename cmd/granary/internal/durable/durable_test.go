package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"granary/cmd/granary/internal/durable"
)

func TestAFileIsReplacedWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := durable.Write(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	failed := errors.New("no more")
	err := durable.Replace(path, 0o644, func(f *os.File) error {
		_, err := f.WriteString("ne")
		return errors.Join(err, failed)
	})
	if !errors.Is(err, failed) {
		t.Errorf("got %v, want the error of who writes", err)
	}
	if got, err := durable.Read(path, 3); err != nil || string(got) != "old" {
		t.Errorf("after a failed write: %q, %v", got, err)
	}
	if err := durable.Write(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := durable.Read(path, 3); err != nil || string(got) != "new" {
		t.Errorf("after a write: %q, %v", got, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
}

func TestReadsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if _, err := durable.Read(path, 3); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte("long"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := durable.Read(path, 3); !errors.Is(err, durable.ErrTooLong) {
		t.Errorf("4 bytes of at most 3: %v", err)
	}
}
