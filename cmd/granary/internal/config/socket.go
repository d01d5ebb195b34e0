package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxSocket is how many bytes the path of a socket may have on every system.
const maxSocket = 100

// Socket is where the running node of a home listens, if one runs. A home deep in the
// tree has a link there, to a folder that nobody else can have made.
func Socket(dir string) string {
	path := socketPath(dir)
	if len(path) > maxSocket {
		if to, err := os.Readlink(path); err == nil {
			return to
		}
	}
	return path
}

// NewSocket returns where a node that starts is to listen, and what removes, once it
// has ended, what was made for that. The caller holds the home's lock.
func NewSocket(dir string) (path string, remove func() error, err error) {
	link := socketPath(dir)
	if len(link) <= maxSocket {
		return link, func() error { return nil }, nil
	}
	remove = func() error { return removeLinked(link) }
	if err := remove(); err != nil { // of a node that was killed
		return "", nil, err
	}
	folder, err := os.MkdirTemp("", "granary-")
	if err != nil {
		return "", nil, fmt.Errorf("make folder for the socket: %w", err)
	}
	path = filepath.Join(folder, filepath.Base(link))
	if err := os.Symlink(path, link); err != nil {
		return "", nil, errors.Join(fmt.Errorf("link the socket: %w", err), os.Remove(folder))
	}
	return path, remove, nil
}

// removeLinked removes a link to a socket, the socket and its folder.
func removeLinked(link string) error {
	if to, err := os.Readlink(link); err == nil {
		_ = os.Remove(to) // whoever cleans temporary folders may have been there
		_ = os.Remove(filepath.Dir(to))
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old socket: %w", err)
	}
	return nil
}

func socketPath(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		abs = dir
	}
	return filepath.Join(abs, "node.sock")
}
