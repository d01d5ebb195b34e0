package erasure_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"granary/erasure"
)

// drill erases all rows but those of have and recovers into the same file.
func drill(t *testing.T, g erasure.Geometry, padded, parity file, have map[int]bool) {
	t.Helper()
	damaged := bytes.Clone(padded)
	for row := range g.K() {
		if !have[row] {
			copy(damaged[row*erasure.RowSize:], bytes.Repeat([]byte{0xEE}, erasure.RowSize))
		}
	}
	src := erasure.Source{Have: func(row int) bool { return have[row] }, Content: file(damaged), Parity: parity}
	if err := erasure.Recover(t.Context(), g, src, file(damaged), nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(damaged, padded) {
		t.Errorf("k = %d, rows %v: wrong content", g.K(), have)
	}
}

func TestAnyKRowsRecover(t *testing.T) {
	for k := 1; k <= 4; k++ { // every subset
		_, padded, parity := commit(t, random(byte(k), k*erasure.RowSize-1))
		g, _ := erasure.NewGeometry(int64(k*erasure.RowSize - 1))
		for subset := range 1 << (2 * k) {
			have := make(map[int]bool)
			for row := range 2 * k {
				if subset>>row&1 == 1 {
					have[row] = true
				}
			}
			if len(have) == k {
				drill(t, g, padded, parity, have)
			}
		}
	}
	random2 := rand.New(rand.NewPCG(3, 4))
	for _, k := range []int{8, 9, 16, 17, 31, 64, 100, 129, 300} { // random subsets
		_, padded, parity := commit(t, random(byte(k), k*erasure.RowSize))
		g, _ := erasure.NewGeometry(int64(len(padded)))
		for _, content := range []int{0, 1, k / 2, max(0, k-33), max(0, k-32), max(0, k-9), k - 8, k - 1} {
			have := make(map[int]bool)
			for _, row := range random2.Perm(k)[:content] {
				have[row] = true
			}
			for _, row := range random2.Perm(k)[:k-content] {
				have[k+row] = true
			}
			drill(t, g, padded, parity, have)
		}
	}
}

func TestRecoverReadsKRowsContentFirst(t *testing.T) {
	const k = 12
	_, padded, parity := commit(t, random(1, k*erasure.RowSize))
	g, _ := erasure.NewGeometry(int64(len(padded)))
	var content, other atomic.Int64
	src := erasure.Source{
		Have:    func(row int) bool { return row != 3 && row != 8 },
		Content: reads{padded, &content},
		Parity:  reads{parity, &other},
	}
	var last int64
	err := erasure.Recover(t.Context(), g, src, make(file, len(padded)), func(done, _ int64) { last = done })
	if err != nil {
		t.Fatal(err)
	}
	if content.Load() != (k-2)*erasure.RowSize || other.Load() != 2*erasure.RowSize {
		t.Errorf("read %d and %d bytes, want %d content rows and 2 parity rows", content.Load(), other.Load(), k-2)
	}
	if last != k*erasure.RowSize {
		t.Errorf("progress ended at %d", last)
	}
}

type reads struct {
	file
	n *atomic.Int64
}

func (r reads) ReadAt(p []byte, off int64) (int, error) {
	r.n.Add(int64(len(p)))
	return r.file.ReadAt(p, off)
}

func TestRecoverDoesNothingWhenNothingIsMissing(t *testing.T) {
	g, _ := erasure.NewGeometry(5 * erasure.RowSize)
	src := erasure.Source{Have: func(row int) bool { return row < 5 }}
	if err := erasure.Recover(t.Context(), g, src, nil, nil); err != nil {
		t.Error(err)
	}
}

func TestRecoverErrors(t *testing.T) {
	_, padded, parity := commit(t, random(1, 5*erasure.RowSize))
	g, _ := erasure.NewGeometry(int64(len(padded)))
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("broken disk")
	src := erasure.Source{Have: func(row int) bool { return row > 0 }, Content: padded, Parity: parity}
	bad := src
	bad.Parity = brokenFile{broken}
	for _, c := range []struct {
		what string
		ctx  context.Context
		src  erasure.Source
		out  io.WriterAt
		want error
	}{
		{"interrupted", canceled, src, padded, context.Canceled},
		{"unreadable parity", t.Context(), bad, padded, broken},
		{"no room", t.Context(), src, file{}, io.ErrShortWrite},
	} {
		if err := erasure.Recover(c.ctx, g, c.src, c.out, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.what, err, c.want)
		}
	}
	src.Have = func(row int) bool { return row == 1 || row >= 7 }
	err := erasure.Recover(t.Context(), g, src, padded, nil)
	var few *erasure.TooFewRowsError
	if !errors.As(err, &few) || few.Have != 4 || few.Need != 5 || !errors.Is(err, erasure.ErrTooFewRows) {
		t.Errorf("4 rows of 5: %v", err)
	}
}

func TestCheckCleanCatchesALyingPublisher(t *testing.T) {
	const length = 7*erasure.RowSize - 100
	honest := refCommit("a", random(1, length))
	other := refCommit("a", random(2, length))
	info := func(b refBlock) erasure.Info {
		i, err := erasure.ParseInfo(b.info)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	content := func(b refBlock) file { return bytes.Join(b.rows[:7], nil) }

	foreign := refBlock{rows: append(append([][]byte{}, honest.rows[:7]...), other.rows[7:]...)}.describe("a", length)
	oneRow := refBlock{rows: append([][]byte{}, honest.rows...)}
	oneRow.rows[9] = other.rows[9]
	oneRow = oneRow.describe("a", length)
	proof := info(honest)
	proof.ProofHash[0] ^= 1
	root := info(honest)
	root.Content[0] ^= 1
	// Padding that is not zero, in a block that is consistent otherwise.
	padded := content(honest)
	padded[length] = 1
	stuffed := refCommit("a", padded)
	stuffed = refBlock{rows: stuffed.rows}.describe("a", length)
	short := info(honest)
	short.Length -= erasure.RowSize - 200 // as many rows, but less of the last is content

	for _, c := range []struct {
		what    string
		info    erasure.Info
		content file
		clean   bool
	}{
		{"honest", info(honest), content(honest), true},
		{"other content", info(honest), content(other), false},
		{"parity of other content", info(foreign), content(honest), false},
		{"one false parity row", info(oneRow), content(honest), false},
		{"other proof vector", proof, content(honest), false},
		{"other content root", root, content(honest), false},
		{"stuffed padding", info(stuffed), content(stuffed), false},
		{"shorter length", short, content(honest), false},
	} {
		parity := make(file, 7*erasure.RowSize)
		b, err := erasure.CheckClean(t.Context(), c.info, c.content, parity, nil)
		switch {
		case c.clean && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.clean && (b.Check() != nil || !bytes.Equal(parity, bytes.Join(honest.rows[7:], nil))):
			t.Errorf("%s: wrong bundle or parity", c.what)
		case !c.clean && !errors.Is(err, erasure.ErrNotClean):
			t.Errorf("%s: error %v, want ErrNotClean", c.what, err)
		}
	}
	if _, err := erasure.CheckClean(t.Context(), info(honest), file(content(honest)[:length]), nil, nil); errors.Is(err, erasure.ErrNotClean) || err == nil {
		t.Errorf("a truncated file is unreadable, not unclean: %v", err)
	}
}

func TestParityRowRefusesOtherRows(t *testing.T) {
	g, _ := erasure.NewGeometry(2 * erasure.RowSize)
	for _, row := range []int{-1, 0, 1, 4} {
		if err := erasure.ParityRow(g, row, zeros{}, make([]byte, erasure.RowSize)); err == nil {
			t.Errorf("row %d is no parity row", row)
		}
	}
	if err := erasure.ParityRow(g, 2, zeros{}, nil); err == nil {
		t.Error("no room for the row")
	}
	if err := erasure.ParityRow(g, 2, file{}, make([]byte, erasure.RowSize)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("no content: %v", err)
	}
}
