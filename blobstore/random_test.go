package blobstore_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"granary/blobstore"
	"granary/erasure"
)

// rounds is how often a test that draws its cases at random does so: as often
// as GRANARY_TEST_ROUNDS says, or n times.
func rounds(t *testing.T, n int) int {
	t.Helper()
	text := os.Getenv("GRANARY_TEST_ROUNDS")
	if text == "" {
		return n
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// harm damages one file at random, as a disk or somebody does.
func harm(t *testing.T, r *rand.Rand, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	what := "flip"
	at := r.IntN(len(data))
	switch r.IntN(6) {
	case 0:
		what, data = "truncate", data[:at]
	case 1:
		what = "remove"
		remove(t, path)
		return what
	case 2:
		what, data = "append", append(data, data[:at]...)
	case 3:
		what = "zero"
		clear(data[at:min(len(data), at+r.IntN(100_000))])
	default:
		data[at] ^= 1 << r.IntN(8)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return what + " at " + strconv.Itoa(at)
}

// TestRandomDamageIsFoundAndRepaired harms one of the two large files of each of
// four blocks, or swaps two of them, some of the small ones, and the index. A
// bundle is put again where the description is lost, as a node does. Three
// blocks are whole, of one some pieces are held.
func TestRandomDamageIsFoundAndRepaired(t *testing.T) {
	blocks := []encoded{
		encode(t, 70, 1), encode(t, 71, 12*erasure.RowSize-9), encode(t, 72, 530*erasure.RowSize), encode(t, 73, 40*erasure.RowSize),
	}
	partial := blocks[3]
	pristine := t.TempDir()
	s := open(t, pristine, blobstore.Config{})
	for _, e := range blocks[:3] {
		if _, err := s.Import(t.Context(), "block", bytes.NewReader(e.Content), nil); err != nil {
			t.Fatal(err)
		}
	}
	b := put(t, s, partial.Bundle)
	for p := range 80 {
		if p%3 != 0 {
			hold(t, b, partial, p)
		}
	}
	held := b.Held()
	// An index one of whose two heads is lost is as it was a transaction before.
	if err := b.SetNote(t.Context(), "last", []byte("transaction")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	seed := rand.Uint64()
	var done []string
	round := 0
	defer func() {
		if t.Failed() {
			t.Logf("seed %d, round %d: %q", seed, round, done)
		}
	}()
	dir := filepath.Join(t.TempDir(), "harmed")
	for round = range rounds(t, 10) {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		remove(t, dir)
		if err := os.CopyFS(dir, os.DirFS(pristine)); err != nil {
			t.Fatal(err)
		}
		done = nil
		var large bool // of the partial block
		hurt := func(path ...string) {
			path = append([]string{dir}, path...)
			done = append(done, filepath.Join(path[1:]...)+": "+harm(t, r, filepath.Join(path...)))
		}
		swapped := -1 // it and the one before it
		if r.IntN(6) == 0 {
			swapped = 1 + r.IntN(2)
			file := []string{"content", "parity"}[r.IntN(2)]
			done = append(done, "swapped "+file)
			swap(t, filepath.Join(dir, "blocks", blocks[swapped-1].ID().String(), file), filepath.Join(dir, "blocks", blocks[swapped].ID().String(), file))
		}
		for i, e := range blocks {
			folder := filepath.Join("blocks", e.ID().String())
			if r.IntN(4) > 0 && i != swapped && i != swapped-1 {
				hurt(folder, []string{"content", "parity"}[r.IntN(2)])
				large = i == 3
			}
			for _, small := range []string{"info", "layers", "proof"} {
				if r.IntN(4) == 0 {
					hurt(folder, small)
				}
			}
		}
		index := r.IntN(3) > 0
		if index {
			hurt("index.db")
		}
		repairAll(t, dir, blocks)
		s, err := blobstore.Open(t.Context(), dir, blobstore.Config{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range blocks[:3] {
			if b, err := s.Block(e.ID()); err == nil && index {
				// A file that is gone with the index was never there.
				if err := b.Complete(t.Context(), nil); err != nil {
					t.Error(err)
				}
			}
			wantWhole(t, s, e)
		}
		b, err := s.Block(partial.ID())
		if err != nil {
			t.Fatal(err)
		}
		wantPieces(t, b, partial)
		known := b.Held()
		known.Union(b.Quarantined())
		if !known.Contains(held) && !(index && large) {
			t.Errorf("of %d pieces that were held %d are known", held.Count(), known.Count())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
}

// repairAll does what a node does with a home that was harmed. Damage of an index
// may show only when it is written: then the node is started again.
func repairAll(t *testing.T, dir string, blocks []encoded) {
	t.Helper()
	err := repairOnce(t, dir, blocks)
	if errors.Is(err, blobstore.ErrFailed) {
		err = repairOnce(t, dir, blocks)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func repairOnce(t *testing.T, dir string, blocks []encoded) error {
	t.Helper()
	s, err := blobstore.Open(t.Context(), dir, blobstore.Config{})
	if errors.Is(err, blobstore.ErrSchema) { // its number was altered
		remove(t, filepath.Join(dir, "index.db"))
		s, err = blobstore.Open(t.Context(), dir, blobstore.Config{})
	}
	if err != nil {
		return err
	}
	defer s.Close()
	for _, e := range blocks {
		for range 2 { // layers that do not hash to the roots are found in use
			var b *blobstore.Block
			if b, err = s.Put(t.Context(), e.Bundle); err == nil {
				_, err = b.Scrub(t.Context(), blobstore.ScrubConfig{Afresh: true})
			}
			if err == nil {
				_, err = b.Repair(t.Context(), nil)
			}
			if err == nil || !errors.Is(err, blobstore.ErrDamaged) || s.Failed() {
				break
			}
		}
		if _, few := errors.AsType[*erasure.TooFewRowsError](err); err != nil && !few {
			return err
		}
	}
	return nil
}
