// Package durable writes files so that after a crash either the old file or
// the whole new one is there: temporary file beside it, fsync, rename, fsync
// of the folder. What others may have written meanwhile it reads with a bound.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace lets fill write a file that takes the name path, with mode, once it
// is on disk. Until then path is untouched; after an error nothing is left.
func Replace(path string, mode fs.FileMode, fill func(*os.File) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = fill(f)
	if err == nil {
		err = errors.Join(f.Chmod(mode), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return SyncDir(filepath.Dir(path))
}

// Write gives path the content b; see Replace.
func Write(path string, b []byte, mode fs.FileMode) error {
	return Replace(path, mode, func(f *os.File) error {
		_, err := f.Write(b)
		return err
	})
}

// ErrTooLong reports a file that is longer than what belongs there.
var ErrTooLong = errors.New("file too long")

// Read returns the bytes of a file of at most so many. Errors: ErrTooLong, and
// those of the file system.
func Read(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if int64(len(raw)) > most {
		err = fmt.Errorf("%w: %s has more than %d bytes", ErrTooLong, path, most)
	}
	return raw, errors.Join(err, f.Close())
}

// SyncDir makes renames in dir survive a power cut.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
