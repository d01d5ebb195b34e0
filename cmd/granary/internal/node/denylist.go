package node

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"granary/erasure"
	"granary/ledger"
)

// ErrDenied reports a block that the home's deny list names.
var ErrDenied = errors.New("this home denies the block")

// ErrDenyList reports a deny list that cannot be read. A node does not start with
// one, rather than keep what its owner wants to be rid of.
var ErrDenyList = errors.New("deny list refused")

const (
	denyFile = "deny"

	maxDenyList = 16 << 20 // some 200,000 lines
)

// DenyList is what a home neither stores for others nor serves, attests or
// samples.
type DenyList struct {
	Blocks     map[erasure.ID]bool
	Publishers map[ledger.PublicKey]bool
	Namespaces map[string]bool
}

// ParseDenyList reads a deny list: a line for each thing denied, `block ID`,
// `publisher KEY` or `namespace NAME`. Empty lines, and what follows a #, count for
// nothing. It returns ErrDenyList with the number of the line.
func ParseDenyList(raw []byte) (DenyList, error) {
	l := DenyList{map[erasure.ID]bool{}, map[ledger.PublicKey]bool{}, map[string]bool{}}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for number := 1; lines.Scan(); number++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		if err := l.add(words); err != nil {
			return DenyList{}, fmt.Errorf("%w: line %d: %w", ErrDenyList, number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return DenyList{}, fmt.Errorf("%w: %w", ErrDenyList, err)
	}
	return l, nil
}

func (l DenyList) add(words []string) error {
	if len(words) != 2 {
		return errors.New("want `block ID`, `publisher KEY` or `namespace NAME`")
	}
	switch what := words[1]; words[0] {
	case "block":
		id, err := erasure.ParseID(what)
		l.Blocks[id] = true
		return err
	case "publisher":
		var key ledger.PublicKey
		err := key.UnmarshalText([]byte(what))
		l.Publishers[key] = true
		return err
	case "namespace":
		l.Namespaces[what] = true
		return ledger.CheckName(what)
	}
	return fmt.Errorf("%q is none of block, publisher and namespace", words[0])
}

// Denies reports whether a block is denied that was announced by a publisher in a
// namespace, as far as these are known.
func (l DenyList) Denies(id erasure.ID, publisher ledger.PublicKey, namespace string) bool {
	return l.Blocks[id] || l.Publishers[publisher] || namespace != "" && l.Namespaces[namespace]
}

// announcers reports whether it matters who announced a block.
func (l DenyList) announcers() bool { return len(l.Publishers)+len(l.Namespaces) > 0 }

// denier has the deny list as the file last had it.
type denier struct {
	path string

	mu    sync.Mutex
	list  DenyList // guarded by mu, as all below; never changed, but replaced
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

// openDenier reads the list of a home.
func openDenier(path string) (*denier, error) {
	d := &denier{path: path}
	_, _, err := d.reload()
	return d, err
}

// reload reads the file if it changed, and returns the list before if there is
// another now. A change must be seen twice, so that a file that is just being written
// is not taken for a short one. Of a file that cannot be read it keeps the list before,
// and tries again the next time.
func (d *denier) reload() (before DenyList, changed bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	mark, err := markOf(d.path)
	if err != nil {
		d.look = fmt.Errorf("%w: %w", ErrDenyList, err)
		return before, false, d.look
	}
	first, twice := d.list.Blocks == nil, mark == d.seen
	d.seen, d.look = mark, nil
	if !first && (mark == d.was || !twice) {
		return before, false, d.err
	}
	var raw []byte
	if mark != (fileMark{}) {
		raw, err = readBounded(d.path, maxDenyList)
	}
	if err != nil {
		d.look = fmt.Errorf("%w: %w", ErrDenyList, err)
		return before, false, d.look
	}
	if after, err := markOf(d.path); !first && (err != nil || after != mark) {
		return before, false, d.err // it changed meanwhile
	}
	d.was = mark
	list, err := ParseDenyList(raw)
	if d.err = err; err != nil {
		return before, false, err
	}
	before, d.list = d.list, list
	return before, true, nil
}

func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if int64(len(raw)) > most {
		err = fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	return raw, errors.Join(err, f.Close())
}

// now returns the list in force.
func (d *denier) now() DenyList {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.list
}

// note counts an announcement that is denied, and reports whether it is new.
func (d *denier) note(index uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if index < d.upTo {
		return false
	}
	d.upTo = index + 1
	d.count++
	return true
}

// Denied is how many things a home denies, and what came of it.
type Denied struct {
	Blocks     int    `json:"blocks"`
	Publishers int    `json:"publishers"`
	Namespaces int    `json:"namespaces"`
	Announced  int    `json:"announcements"`   // not taken up for it, since the node started; a validator abstains from them
	Err        string `json:"error,omitempty"` // why the file as it is now is not in force: the list before is
}

func (d *denier) status() Denied {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Denied{Blocks: len(d.list.Blocks), Publishers: len(d.list.Publishers), Namespaces: len(d.list.Namespaces), Announced: d.count}
	if err := cmp.Or(d.look, d.err); err != nil {
		s.Err = err.Error()
	}
	return s
}
