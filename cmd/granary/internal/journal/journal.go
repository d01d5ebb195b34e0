package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"granary/cmd/granary/internal/durable"
	"granary/erasure"
	"granary/sampling"
)

// maxOpen bounds the tests that are not settled; beyond it the oldest are
// forgotten, and asking for one of them again is a new test.
const maxOpen = 1024

// maxCost of one verdict is more than two times all rows of the largest block;
// a line that says more is damaged.
const maxCost = 1 << 31

// maxDraw is more than a file of rows drawn has.
const maxDraw = 1 << 20

// Journal is the journal of one home. It is safe for concurrent use.
type Journal struct {
	dir string

	mu    sync.Mutex // guards the files and what follows
	spent []cost     // of the verdicts of the last day, oldest first
}

// cost is what one verdict took.
type cost struct {
	at    time.Time
	bytes int64
}

// Open opens the journal in dir, which is made if it is not there.
func Open(dir string) (*Journal, error) {
	j := &Journal{dir: dir}
	if err := os.MkdirAll(j.tests(), 0o700); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	entries, err := History(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		j.spent = append(j.spent, cost{e.Time, min(max(e.Bytes, 0), maxCost)})
	}
	return j, nil
}

func (j *Journal) tests() string { return filepath.Join(j.dir, "tests") }

func (j *Journal) test(id erasure.ID, bits int) string {
	return filepath.Join(j.tests(), fmt.Sprintf("%s-%d", id, bits))
}

// Draw returns the rows of this home's test of a block with k content rows at
// so many bits. The first call draws them, and returns once they are on disk;
// later ones return the same until Settle.
func (j *Journal) Draw(id erasure.ID, k, bits int) ([]int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	path := j.test(id, bits)
	fresh, err := sampling.Draw(k, bits)
	if err != nil {
		return nil, err
	}
	raw, err := readUpTo(path, maxDraw)
	if err == nil {
		if kept, ok := parseDraw(string(raw), len(fresh), 2*k); ok {
			return kept, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read rows drawn before: %w", err)
	}
	if err := j.makeRoom(); err != nil {
		return nil, err
	}
	var text strings.Builder
	for _, row := range fresh {
		fmt.Fprintln(&text, row)
	}
	if err := durable.Write(path, []byte(text.String()), 0o600); err != nil {
		return nil, fmt.Errorf("keep rows drawn: %w", err)
	}
	return fresh, nil
}

// parseDraw reads n distinct rows below total, a line each.
func parseDraw(text string, n, total int) ([]int, bool) {
	lines := strings.Fields(text)
	if len(lines) != n {
		return nil, false
	}
	rows, seen := make([]int, n), make(map[int]bool, n)
	for i, line := range lines {
		row, err := strconv.Atoi(line)
		if err != nil || row < 0 || row >= total || seen[row] {
			return nil, false
		}
		rows[i], seen[row] = row, true
	}
	return rows, true
}

// makeRoom forgets the oldest tests when there are too many.
func (j *Journal) makeRoom() error {
	open, err := os.ReadDir(j.tests())
	if err != nil || len(open) < maxOpen {
		return err
	}
	begun := func(e fs.DirEntry) time.Time {
		info, err := e.Info()
		if err != nil {
			return time.Time{} // gone
		}
		return info.ModTime()
	}
	slices.SortFunc(open, func(a, b fs.DirEntry) int { return begun(a).Compare(begun(b)) })
	for _, e := range open[:len(open)-maxOpen+1] {
		if err := os.Remove(filepath.Join(j.tests(), e.Name())); err != nil {
			return fmt.Errorf("forget a test: %w", err)
		}
	}
	return nil
}

// Settle ends a test: its verdict is final, and another test of the block has
// rows of its own.
func (j *Journal) Settle(id erasure.ID, bits int) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := os.Remove(j.test(id, bits)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("settle test: %w", err)
	}
	return nil
}
