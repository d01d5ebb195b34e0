package deny

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"granary/cmd/granary/internal/durable"
)

const maxFile = 16 << 20 // some 200,000 lines

// File has the deny list as a file last had it. Its methods may be called by any
// number of goroutines.
type File struct {
	path string

	mu    sync.Mutex
	list  List     // guarded by mu, as all below; never changed, but replaced
	was   fileMark // of the file when it was read last
	seen  fileMark // of the file at the last look
	look  error    // why the file could not be read at the last look
	err   error    // why the file that was read last is not in force
	upTo  uint64   // announcements below this log index were counted
	count int      // announcements denied since the start
}

// fileMark tells a file from what it was before; zero: there is none.
type fileMark struct {
	stamp int64 // Unix nanoseconds
	size  int64
}

func markOf(path string) (fileMark, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fileMark{}, nil
	}
	if err != nil {
		return fileMark{}, err
	}
	return fileMark{info.ModTime().UnixNano(), info.Size()}, nil
}

// Open reads the list of a home. No file is an empty list. Errors: ErrList.
func Open(path string) (*File, error) {
	f := &File{path: path}
	_, _, err := f.Reload()
	return f, err
}

// Reload reads the file if it changed, and returns the list before if there is
// another now. A change must be seen twice, so that a file that is just being written
// is not taken for a short one. Of a file that cannot be read it keeps the list before,
// and tries again the next time.
func (f *File) Reload() (before List, changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	mark, err := markOf(f.path)
	if err != nil {
		f.look = fmt.Errorf("%w: %w", ErrList, err)
		return before, false, f.look
	}
	first, twice := f.list.Blocks == nil, mark == f.seen
	f.seen, f.look = mark, nil
	if !first && (mark == f.was || !twice) {
		return before, false, f.err
	}
	var raw []byte
	if mark != (fileMark{}) {
		raw, err = durable.Read(f.path, maxFile)
	}
	if err != nil {
		f.look = fmt.Errorf("%w: %w", ErrList, err)
		return before, false, f.look
	}
	if after, err := markOf(f.path); !first && (err != nil || after != mark) {
		return before, false, f.err // it changed meanwhile
	}
	f.was = mark
	list, err := Parse(raw)
	if f.err = err; err != nil {
		return before, false, err
	}
	before, f.list = f.list, list
	return before, true, nil
}

// List returns the list in force.
func (f *File) List() List {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list
}

// Note counts an announcement that is denied, and reports whether it is new.
func (f *File) Note(index uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if index < f.upTo {
		return false
	}
	f.upTo = index + 1
	f.count++
	return true
}

// Status is how many things a home denies, and what came of it.
type Status struct {
	Blocks     int    `json:"blocks"`
	Publishers int    `json:"publishers"`
	Namespaces int    `json:"namespaces"`
	Announced  int    `json:"announcements"`   // not taken up for it, since the node started; a validator abstains from them
	Err        string `json:"error,omitempty"` // why the file as it is now is not in force: the list before is
}

// Status returns it.
func (f *File) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Status{Blocks: len(f.list.Blocks), Publishers: len(f.list.Publishers), Namespaces: len(f.list.Namespaces), Announced: f.count}
	if err := cmp.Or(f.look, f.err); err != nil {
		s.Err = err.Error()
	}
	return s
}
