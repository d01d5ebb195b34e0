package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"granary/cmd/granary/internal/durable"
)

// lines is a file to which lines are appended, and the one before it: the first
// becomes the second when it is full.
type lines struct {
	path, older string
	most        int64 // bytes of each
}

// append appends a line, and returns once it is on disk. One before it that was
// cut, by a crash or a full disk, is ended first, so that this one stands alone.
func (l lines) append(line []byte) error {
	info, err := os.Stat(l.path)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err == nil && info.Size()+1+int64(len(line)) > l.most { // 1: what ends a line that was cut
		if err := os.Rename(l.path, l.older); err != nil {
			return fmt.Errorf("begin a new journal file: %w", err)
		}
		fresh = true
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	var last [1]byte
	info, err = f.Stat()
	if err == nil && info.Size() > 0 {
		if _, err = f.ReadAt(last[:], info.Size()-1); err == nil && last[0] != '\n' {
			line = append([]byte{'\n'}, line...)
		}
	}
	if err == nil {
		_, err = f.Write(line)
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil && fresh {
		err = durable.SyncDir(filepath.Dir(l.path))
	}
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

// each visits the lines, oldest first; none if there are no files.
func (l lines) each(visit func(line []byte)) error {
	for _, path := range []string{l.older, l.path} {
		raw, err := readUpTo(path, l.most)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read journal: %w", err)
		}
		for line := range bytes.Lines(raw) {
			visit(line)
		}
	}
	return nil
}

func readUpTo(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}
