package blobstore

import (
	"container/list"
	"errors"
	"os"
	"sync"
)

// maxOpenFiles bounds the files that stay open while nobody uses them.
const maxOpenFiles = 256

// files keeps recently used files open, so that 10,000 blocks do not need
// 20,000 descriptors and a busy piece does not open its file per row.
//
// An evicted file may have bytes that are not fsynced; CommitPiece opens it
// again and syncs, which POSIX makes a matter of the file, not the descriptor.
type files struct {
	mu     sync.Mutex
	closed bool
	open   map[string]*file
	idle   *list.List // of *file that nobody uses, most recently used first
}

// A file is open; whoever acquired it must release it.
type file struct {
	*os.File
	path   string
	users  int           // guarded by files.mu
	orphan bool          // guarded by files.mu: no longer the file at path
	elem   *list.Element // its place in idle; nil while in use
}

func newFiles() *files { return &files{open: make(map[string]*file), idle: list.New()} }

// acquire returns the file at path, open for reading and writing.
func (fs *files) acquire(path string) (*file, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed {
		return nil, ErrClosed
	}
	f, ok := fs.open[path]
	if !ok {
		h, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		f = &file{File: h, path: path}
		fs.open[path] = f
	}
	if f.elem != nil {
		fs.idle.Remove(f.elem)
		f.elem = nil
	}
	f.users++
	return f, nil
}

// release ends one use of f.
func (fs *files) release(f *file) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f.users--; f.users > 0 {
		return
	}
	if f.orphan {
		_ = f.Close() // as in drop
		return
	}
	f.elem = fs.idle.PushFront(f)
	if fs.closed || fs.idle.Len() > maxOpenFiles {
		fs.drop(fs.idle.Back().Value.(*file))
	}
}

// renew makes sure that path is opened anew when the file there is another one
// than the one that is open, because somebody replaced it.
func (fs *files) renew(path string) error {
	now, err := os.Stat(path)
	if err != nil {
		return err
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f, ok := fs.open[path]
	if !ok {
		return nil
	}
	if was, err := f.Stat(); err == nil && os.SameFile(was, now) {
		return nil
	}
	if f.elem != nil {
		fs.drop(f)
		return nil
	}
	delete(fs.open, path) // its users close it when they are done
	f.orphan = true
	return nil
}

// forget closes the files at paths if nobody uses them.
func (fs *files) forget(paths ...string) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, path := range paths {
		if f, ok := fs.open[path]; ok && f.elem != nil {
			fs.drop(f)
		}
	}
}

// drop closes an idle file. Its bytes were synced by whoever needed them
// durable, so a close error loses nothing that was promised.
func (fs *files) drop(f *file) {
	fs.idle.Remove(f.elem)
	delete(fs.open, f.path)
	_ = f.Close()
}

// close closes every file; those in use when they are released.
func (fs *files) close() error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.closed = true
	var errs []error
	for e := fs.idle.Front(); e != nil; e = fs.idle.Front() {
		f := e.Value.(*file)
		fs.idle.Remove(e)
		delete(fs.open, f.path)
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
