package blobstore_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"granary/blobstore"
	"granary/erasure"
)

// stored makes a closed store with one block of which the given pieces are
// held, all when none are given, and returns the block's folder.
func stored(t *testing.T, e encoded, pieces ...int) (dir, folder string) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, dir, blobstore.Config{})
	if len(pieces) == 0 {
		if _, err := s.Import(t.Context(), "block", bytes.NewReader(e.Content), nil); err != nil {
			t.Fatal(err)
		}
	} else {
		hold(t, put(t, s, e.Bundle), e, pieces...)
	}
	b, err := s.Block(e.ID())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SetNote(t.Context(), "pin", []byte("yes")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, "blocks", e.ID().String())
}

func flip(t *testing.T, path string, off int64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[off] ^= 1
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedDescriptionIsReportedAndMended: what cannot be used is not served
// and not removed, and the bundle brings it back with every piece.
func TestDamagedDescriptionIsReportedAndMended(t *testing.T) {
	e := encode(t, 30, 6*erasure.RowSize)
	for name, harm := range map[string]func(folder string){
		"info altered":     func(f string) { flip(t, filepath.Join(f, "info"), 40) },
		"info truncated":   func(f string) { truncate(t, filepath.Join(f, "info"), 40) },
		"info missing":     func(f string) { remove(t, filepath.Join(f, "info")) },
		"info huge":        func(f string) { truncate(t, filepath.Join(f, "info"), 1<<30) },
		"layers truncated": func(f string) { truncate(t, filepath.Join(f, "layers"), 32) },
		"layers missing":   func(f string) { remove(t, filepath.Join(f, "layers")) },
		"another's info": func(f string) {
			other := encode(t, 31, 100).Bundle.Info.Encode()
			if err := os.WriteFile(filepath.Join(f, "info"), other, 0o644); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, folder := stored(t, e)
			harm(folder)
			var logged bytes.Buffer
			s := open(t, dir, blobstore.Config{Logger: textLogger(&logged)})
			_, err := s.Block(e.ID())
			wantErr(t, "block", err, blobstore.ErrDamaged)
			if len(s.Blocks()) != 0 || !errors.Is(s.Damaged()[e.ID()], blobstore.ErrDamaged) {
				t.Error("damage is not reported")
			}
			if !strings.Contains(logged.String(), e.ID().String()) {
				t.Error("damage is not logged")
			}
			b := put(t, s, e.Bundle)
			if !b.Whole() || string(b.Note("pin")) != "yes" || len(s.Damaged()) != 0 {
				t.Error("not mended")
			}
			if _, _, err := b.Row(11); err != nil {
				t.Errorf("row: %v", err)
			}
		})
	}
}

func TestDamagedBlockCanBeDeleted(t *testing.T) {
	e := encode(t, 30, 6*erasure.RowSize)
	dir, folder := stored(t, e)
	remove(t, filepath.Join(folder, "info"))
	s := open(t, dir, blobstore.Config{})
	if err := s.Delete(t.Context(), e.ID()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) || len(s.Damaged()) != 0 {
		t.Errorf("still there: %v", err)
	}
}

func TestAlteredLayersAreMendedInPlace(t *testing.T) {
	e := encode(t, 32, 6*erasure.RowSize)
	dir, folder := stored(t, e, 1, 2)
	flip(t, filepath.Join(folder, "layers"), 100)
	s := open(t, dir, blobstore.Config{})
	b, err := s.Block(e.ID())
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "commit", b.CommitPiece(t.Context(), 0), blobstore.ErrDamaged)
	_, _, err = b.Row(1)
	wantErr(t, "row", err, blobstore.ErrDamaged)
	if err := b.Bundle().Check(); err == nil {
		t.Error("a bundle without layers passes its check")
	}
	put(t, s, e.Bundle)
	if _, _, err = b.Row(1); err != nil {
		t.Errorf("row after the bundle came again: %v", err)
	}
}

func TestDamagedProofIsUnknownAndLearntAgain(t *testing.T) {
	e := encode(t, 33, 6*erasure.RowSize)
	for name, harm := range map[string]func(path string){
		"altered":   func(p string) { flip(t, p, 17) },
		"truncated": func(p string) { truncate(t, p, 16) },
		"longer":    func(p string) { truncate(t, p, 1000) },
		"missing":   func(p string) { remove(t, p) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, folder := stored(t, e, 0, 1, 2, 3, 4, 11)
			harm(filepath.Join(folder, "proof"))
			s := open(t, dir, blobstore.Config{})
			b, err := s.Block(e.ID())
			if err != nil {
				t.Fatal(err)
			}
			if b.Bundle().Proof != nil {
				t.Error("a damaged proof is passed on")
			}
			_, _, err = b.Row(1)
			wantErr(t, "row", err, blobstore.ErrNotHeld)
			if err := b.Complete(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(folder, "proof")); err != nil || !bytes.Equal(got, e.Bundle.Proof) {
				t.Errorf("proof on disk differs (%v)", err)
			}
		})
	}
}

func TestRottenPieceIsNotServed(t *testing.T) {
	e := encode(t, 34, 6*erasure.RowSize)
	dir, folder := stored(t, e)
	flip(t, filepath.Join(folder, "content"), 2*erasure.RowSize+5)
	s := open(t, dir, blobstore.Config{})
	b, err := s.Block(e.ID())
	if err != nil {
		t.Fatal(err)
	}
	var rot *blobstore.PieceError
	if _, _, err := b.Row(2); !errors.As(err, &rot) || rot.Piece != 2 {
		t.Errorf("rotten row: %v, want *PieceError of piece 2", err)
	}
	if b.Has(2) || b.Whole() {
		t.Error("the rotten piece is still held")
	}
	if err := b.Complete(t.Context(), nil); err != nil || !b.Whole() {
		t.Errorf("repair: %v", err)
	}
	if row, _, err := b.Row(2); err != nil || !bytes.Equal(row, e.Piece(2)) {
		t.Errorf("row after the repair: %v", err)
	}
}

// TestRotIsNotBlamedOnThePublisher: decoding from a rotten piece gives no clean
// block, but the block is clean.
func TestRotIsNotBlamedOnThePublisher(t *testing.T) {
	e := encode(t, 35, 6*erasure.RowSize)
	dir, folder := stored(t, e, 0, 1, 2, 6, 7, 8, 9)
	flip(t, filepath.Join(folder, "parity"), 1*erasure.RowSize)
	s := open(t, dir, blobstore.Config{})
	b, err := s.Block(e.ID())
	if err != nil {
		t.Fatal(err)
	}
	var rot *blobstore.PieceError
	if err := b.Complete(t.Context(), nil); !errors.As(err, &rot) || rot.Piece != 7 || errors.Is(err, erasure.ErrNotClean) {
		t.Errorf("complete: %v, want *PieceError of piece 7", err)
	}
	if b.Has(7) || b.Held().Count() != 6 {
		t.Errorf("%d pieces held, want the 6 good ones", b.Held().Count())
	}
	if err := b.Complete(t.Context(), nil); err != nil || !b.Whole() {
		t.Errorf("complete from the good ones: %v", err)
	}
}

func TestTruncatedFilesLoseOnlyTheirPieces(t *testing.T) {
	e := encode(t, 36, 6*erasure.RowSize)
	for name, c := range map[string]struct {
		harm func(folder string)
		left int
	}{
		"content short":   {func(f string) { truncate(t, filepath.Join(f, "content"), 3*erasure.RowSize+1) }, 9},
		"content long":    {func(f string) { truncate(t, filepath.Join(f, "content"), 1<<20) }, 12},
		"content missing": {func(f string) { remove(t, filepath.Join(f, "content")) }, 6},
		"parity empty":    {func(f string) { truncate(t, filepath.Join(f, "parity"), 0) }, 6},
	} {
		t.Run(name, func(t *testing.T) {
			dir, folder := stored(t, e)
			c.harm(folder)
			for range 2 { // the second start finds it settled
				s := open(t, dir, blobstore.Config{})
				b, err := s.Block(e.ID())
				if err != nil {
					t.Fatal(err)
				}
				if b.Held().Count() != c.left {
					t.Errorf("%d pieces held, want %d", b.Held().Count(), c.left)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			s := open(t, dir, blobstore.Config{})
			b, err := s.Block(e.ID())
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Complete(t.Context(), nil); err != nil || !b.Whole() {
				t.Errorf("complete: %v", err)
			}
		})
	}
}

// lose removes a block's folder, and leaves something beside it: an empty folder
// of blocks would be a disk that is not mounted.
func lose(t *testing.T, folder string) {
	t.Helper()
	remove(t, folder)
	if err := os.Mkdir(filepath.Join(filepath.Dir(folder), "other"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestAbsentBlocksAreNotTakenForLost: else a node would fetch all of an archive
// again, onto the disk that the folder is on now.
func TestAbsentBlocksAreNotTakenForLost(t *testing.T) {
	e := encode(t, 36, 100)
	dir, _ := stored(t, e)
	blocks := filepath.Join(dir, "blocks")
	if err := os.Rename(blocks, blocks+".away"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := blobstore.Open(t.Context(), dir, blobstore.Config{})
		wantErr(t, "open", err, blobstore.ErrAbsent)
	}
	remove(t, blocks)
	if err := os.Rename(blocks+".away", blocks); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, open(t, dir, blobstore.Config{}), e)
}

func TestMissingFolderKeepsItsNotes(t *testing.T) {
	e := encode(t, 37, 100)
	dir, folder := stored(t, e)
	lose(t, folder)
	s := open(t, dir, blobstore.Config{})
	_, err := s.Block(e.ID())
	wantErr(t, "block", err, blobstore.ErrDamaged)
	b := put(t, s, e.Bundle)
	if b.Held().Count() != 0 || string(b.Note("pin")) != "yes" {
		t.Errorf("%d pieces, note %q", b.Held().Count(), b.Note("pin"))
	}
	hold(t, b, e, 0, 1)
}

// TestLostIndexIsRebuilt: the folders alone say what is held.
func TestLostIndexIsRebuilt(t *testing.T) {
	e := encode(t, 38, 6*erasure.RowSize)
	for name, harm := range map[string]func(path string){
		"missing":   func(p string) { remove(t, p) },
		"empty":     func(p string) { truncate(t, p, 0) },
		"truncated": func(p string) { truncate(t, p, 9000) },
		"no index": func(p string) {
			if err := os.WriteFile(p, bytes.Repeat([]byte("nonsense"), 8192), 0o644); err != nil {
				t.Fatal(err)
			}
		},
		"altered": func(p string) {
			data, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			for i := 2 * 4096; i < len(data); i++ {
				data[i] ^= 0x5a
			}
			if err := os.WriteFile(p, data, 0o644); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, folder := stored(t, e, 0, 5, 6, 10)
			flip(t, filepath.Join(folder, "parity"), 4*erasure.RowSize) // piece 10
			harm(filepath.Join(dir, "index.db"))
			var logged bytes.Buffer
			s := open(t, dir, blobstore.Config{Logger: textLogger(&logged)})
			b, err := s.Block(e.ID())
			if err != nil {
				t.Fatal(err)
			}
			if b.Held().Count() != 3 || !b.Has(0) || !b.Has(5) || !b.Has(6) {
				t.Errorf("%d pieces held, want 0, 5 and 6", b.Held().Count())
			}
			if logged.Len() == 0 {
				t.Error("nothing logged")
			}
			aside, err := filepath.Glob(filepath.Join(dir, "index.db.damaged*"))
			if wantAside := name != "missing" && name != "empty"; err != nil || (len(aside) == 1) != wantAside {
				t.Errorf("put aside: %v", aside)
			}
		})
	}
}

func TestStrangersInTheFolderAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"README", "0123", strings.Repeat("A", 64)} {
		if err := os.MkdirAll(filepath.Join(dir, "blocks", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	torn := filepath.Join(dir, "blocks", ".staging-123")
	if err := os.MkdirAll(torn, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(torn, "content"), []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, blobstore.Config{})
	names, err := os.ReadDir(filepath.Join(dir, "blocks"))
	if err != nil || len(names) != 3 || len(s.Blocks())+len(s.Damaged()) != 0 {
		t.Errorf("%v, %d blocks, damaged %v (%v); want the three strangers", names, len(s.Blocks()), s.Damaged(), err)
	}
}
