package erasure_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"granary/erasure"
)

// file is memory that can be read and written at offsets.
type file []byte

func (f file) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(f).ReadAt(p, off)
}

func (f file) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(f)) {
		return 0, io.ErrShortWrite
	}
	return copy(f[off:], p), nil
}

// random returns n bytes that depend on seed only.
func random(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// commit makes a block and returns both of its files, padded.
func commit(t testing.TB, content []byte) (b erasure.Bundle, padded, parity file) {
	t.Helper()
	g, err := erasure.NewGeometry(int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	padded, parity = make(file, g.PaddedLength()), make(file, g.PaddedLength())
	copy(padded, content)
	b, err = erasure.Commit(t.Context(), "content", int64(len(content)), bytes.NewReader(content), parity, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b, padded, parity
}

// checkAgainst compares a block with what the reference makes of its content.
func checkAgainst(t *testing.T, want refBlock, b erasure.Bundle, parity file) {
	t.Helper()
	k := len(want.rows) / 2
	if !bytes.Equal(parity, bytes.Join(want.rows[k:], nil)) {
		t.Error("parity differs from the reference's")
	}
	if b.Info.Content != want.content || b.Info.Parity != want.parity {
		t.Errorf("roots %v %v, want %v %v", b.Info.Content, b.Info.Parity, want.content, want.parity)
	}
	if got, want := fmt.Sprint(b.Layers), fmt.Sprint(erasure.Layers{Content: want.layers[0], Parity: want.layers[1]}); got != want {
		t.Errorf("layers %v, want %v", got, want)
	}
	if !bytes.Equal(b.Proof, bytes.Join(want.y, nil)) {
		t.Error("proof vector differs from the reference's")
	}
	if got := b.Info.Encode(); !bytes.Equal(got, want.info) {
		t.Errorf("info %q, want %q", got, want.info)
	}
	if got := b.Info.ID(); got != want.id {
		t.Errorf("ID %v, want %v", got, want.id)
	}
	if err := b.Check(); err != nil {
		t.Errorf("own bundle: %v", err)
	}
}

func TestCommitAgreesWithTheReference(t *testing.T) {
	for _, length := range []int{1, 63, 64, 65, 16383, 16384, 16385, 2 * 16384, 3*16384 - 1, 4 * 16384, 5*16384 + 7, 7 * 16384, 8*16384 + 1, 100*16384 - 5000} {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			content := random(byte(length), length)
			want := refCommit("content", content)
			b, padded, parity := commit(t, content)
			checkAgainst(t, want, b, parity)

			// Every row verifies with the reference's path.
			v, err := erasure.NewVerifier(b.Info, b.Proof)
			if err != nil {
				t.Fatal(err)
			}
			g := b.Info.Geometry()
			k, width := g.K(), 1<<g.Depth()
			var leaves []erasure.Root
			for _, row := range want.rows {
				leaves = append(leaves, sha256.Sum256(row))
			}
			for row, data := range want.rows {
				index, of := row, leaves[:k]
				if row >= k {
					index, of = row-k, leaves[k:]
				}
				path := refPath(of, width, index)
				if err := v.Row(row, data, path); err != nil {
					t.Error(err)
				}
				p := g.PieceOf(row)
				first, count := g.PieceSpan(p)
				piece := bytes.Join(want.rows[first:first+count], nil)
				got, err := erasure.RowPath(g, b.Layers, row, piece)
				if err != nil || fmt.Sprint(got) != fmt.Sprint(path) {
					t.Errorf("path of row %d: %v, %v, want %v", row, got, err, path)
				}
				if err := v.Piece(b.Layers, p, piece); err != nil {
					t.Error(err)
				}
				if row >= k && row < k+3 {
					dst := make([]byte, erasure.RowSize)
					if err := erasure.ParityRow(g, row, padded, dst); err != nil || !bytes.Equal(dst, data) {
						t.Errorf("parity row %d by the Cauchy form: wrong, %v", row, err)
					}
				}
			}
			clean, err := erasure.CheckClean(t.Context(), b.Info, padded, nil, nil)
			if err != nil || !bytes.Equal(clean.Proof, b.Proof) {
				t.Errorf("own block is not clean: %v", err)
			}
		})
	}
}

// Rows are hashed in groups, by other means where a group is full enough.
func TestRowsHashAlikeHoweverManyThereAre(t *testing.T) {
	const longest = 50
	content := random(1, longest*erasure.RowSize)
	for k := 1; k <= longest; k++ {
		b, padded, parity := commit(t, content[:k*erasure.RowSize])
		for i, f := range []file{padded, parity} {
			var leaves []erasure.Root
			for row := range k {
				leaves = append(leaves, sha256.Sum256(f[row*erasure.RowSize:][:erasure.RowSize]))
			}
			want, got := refTree(leaves, 1<<b.Info.Geometry().Depth()), [2]erasure.Root{b.Info.Content, b.Info.Parity}
			if got[i] != want || erasure.FileRoot(leaves) != want {
				t.Errorf("k = %d: root %d is %v, want %v", k, i, got[i], want)
			}
		}
	}
}

func TestCommitErrors(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("broken disk")
	for _, c := range []struct {
		what    string
		ctx     context.Context
		name    string
		length  int64
		content io.ReaderAt
		parity  io.WriterAt
		want    error
	}{
		{"no content", t.Context(), "a", 0, file{}, nil, erasure.ErrLength},
		{"too much content", t.Context(), "a", erasure.MaxLength + 1, file{}, nil, erasure.ErrLength},
		{"bad name", t.Context(), "a/b", 1, file{0}, nil, erasure.ErrName},
		{"content shorter than said", t.Context(), "a", 20000, make(file, 19999), nil, io.ErrUnexpectedEOF},
		{"no room for parity", t.Context(), "a", 1, file{0}, make(file, erasure.RowSize-1), io.ErrShortWrite},
		{"interrupted", canceled, "a", 1, file{0}, nil, context.Canceled},
		{"unreadable content", t.Context(), "a", 1, brokenFile{broken}, nil, broken},
	} {
		if _, err := erasure.Commit(c.ctx, c.name, c.length, c.content, c.parity, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.what, err, c.want)
		}
	}
}

type brokenFile struct{ err error }

func (f brokenFile) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestCommitReadsTwiceAtMostAndReportsProgress(t *testing.T) {
	const length = 3<<20 + 1
	content := &countingReader{file: random(1, length), t: t}
	var last, calls int64
	progress := func(done, total int64) {
		calls++
		if done < last || done > total {
			t.Errorf("progress went from %d to %d of %d", last, done, total)
		}
		last = done
	}
	b, err := erasure.Commit(t.Context(), "a", length, content, nil, progress)
	if err != nil {
		t.Fatal(err)
	}
	if got := content.read.Load(); got > 2*length {
		t.Errorf("%d bytes read, want at most %d", got, 2*length)
	}
	if want := 2 * b.Info.Geometry().PaddedLength(); last != want || calls > 10 {
		t.Errorf("progress ended at %d after %d calls, want %d after a few", last, calls, want)
	}
}

// countingReader fails the test when it is asked for what does not exist.
type countingReader struct {
	file
	t    *testing.T
	read atomic.Int64
}

func (r *countingReader) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(r.file)) {
		r.t.Errorf("read of %d bytes at %d, beyond %d", len(p), off, len(r.file))
	}
	r.read.Add(int64(len(p)))
	return r.file.ReadAt(p, off)
}
