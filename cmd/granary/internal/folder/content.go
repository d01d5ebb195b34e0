package folder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"granary/erasure"
)

var (
	// ErrChanged reports content that was written to while it was read.
	ErrChanged = errors.New("changed while it was read")

	// ErrFolder reports a folder where one file is wanted.
	ErrFolder = errors.New("is a folder")

	// ErrNoFile reports an output that is no ordinary file, and is not replaced by one.
	ErrNoFile = errors.New("is no ordinary file")
)

// Content is a file that becomes a block, as it was when it was opened.
type Content struct {
	file *os.File
	was  fs.FileInfo
	err  atomic.Pointer[error] // what Read ended with, if not with the end
}

// Open opens the file at path for a block. Errors: ErrFolder, erasure.ErrLength,
// those of the file system.
func Open(path string) (*Content, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open content: %w", err)
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		err = fmt.Errorf("%s %w", path, ErrFolder)
	}
	if err == nil && st.Mode().IsRegular() {
		if _, err = erasure.NewGeometry(st.Size()); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Content{file: f, was: st}, nil
}

// Length is that of an ordinary file in bytes, 0 of a pipe or a device.
func (c *Content) Length() int64 {
	if !c.was.Mode().IsRegular() {
		return 0
	}
	return c.was.Size()
}

// Unchanged returns ErrChanged if an ordinary file is no longer what it was when it
// was opened.
func (c *Content) Unchanged() error {
	st, err := c.file.Stat()
	if err != nil {
		return err
	}
	if c.was.Mode().IsRegular() && (st.Size() != c.was.Size() || !st.ModTime().Equal(c.was.ModTime())) {
		return fmt.Errorf("%s %w", c.file.Name(), ErrChanged)
	}
	return nil
}

// Read implements io.Reader. Content that is read to its end is Unchanged, or that
// is the error.
func (c *Content) Read(p []byte) (int, error) {
	n, err := c.file.Read(p)
	if err == io.EOF {
		if changed := c.Unchanged(); changed != nil {
			err = changed
		}
	}
	if err != nil && err != io.EOF {
		c.err.Store(&err)
	}
	return n, err
}

// ReadAt implements io.ReaderAt.
func (c *Content) ReadAt(p []byte, off int64) (int, error) { return c.file.ReadAt(p, off) }

// Err returns the error that Read ended with, nil for the end of the file: whoever
// has it read by others may hear from them that it broke, and not why.
func (c *Content) Err() error {
	if err := c.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Close closes the file.
func (c *Content) Close() error { return c.file.Close() }
