package blobstore_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"granary/blobstore"
	"granary/erasure"
)

// badDisk is a file on a disk of its own, parts of which can go bad: reading
// them is an I/O error from then on, until they are written again.
type badDisk struct{ path, image string }

// onBadDisk puts the file at path onto such a disk.
func onBadDisk(t *testing.T, path string) badDisk {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := newDiskOf(t, 4<<20, "mkfs.ext4", "-q", "-F", "-O", "^has_journal")
	file := filepath.Join(d.dir, "file")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	syscall.Sync()
	if err := syscall.Mount(file, path, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("cannot bind a file: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(path, syscall.MNT_DETACH) })
	return badDisk{path: path, image: d.image}
}

// spoil makes the disk bad from its end on, until n of the units of the file
// cannot be read any more, and returns which.
func (d badDisk) spoil(t *testing.T, n, unit int) map[int]bool {
	t.Helper()
	size := func(path string) int64 {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	for left := size(d.image) - 4096; left >= 0; left -= 4096 {
		// Reads beyond the end of the image are errors of its loop device.
		if err := os.Truncate(d.image, left); err != nil {
			t.Fatal(err)
		}
		bad := map[int]bool{}
		for i := range int(size(d.path)) / unit {
			if err := d.read(t, int64(i)*int64(unit), unit); errors.Is(err, syscall.EIO) {
				bad[i] = true
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if len(bad) >= n {
			return bad
		}
	}
	t.Fatal("the disk does not go bad")
	return nil
}

// read reads past the system's cache.
func (d badDisk) read(t *testing.T, off int64, n int) error {
	t.Helper()
	f, err := os.Open(d.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadFull(io.NewSectionReader(f, off, int64(n)), make([]byte, n))
	return err
}

// TestUnreadablePiecesAreQuarantinedAndRepaired: an I/O error costs the pieces
// it hits, not the block and not the store. Whoever meets it first finds it.
func TestUnreadablePiecesAreQuarantinedAndRepaired(t *testing.T) {
	e, other := encodeSmall(t, 90), encodeSmall(t, 91)
	first := func(bad map[int]bool) int {
		for p := range bad {
			return p
		}
		return -1
	}
	for name, meet := range map[string]func(*testing.T, *blobstore.Block, map[int]bool){
		"scrub": func(t *testing.T, b *blobstore.Block, bad map[int]bool) {
			if r := scrub(t, b); r.Bad.Count() != len(bad) {
				t.Errorf("%d pieces found, want %d", r.Bad.Count(), len(bad))
			}
		},
		"row": func(t *testing.T, b *blobstore.Block, bad map[int]bool) {
			p := first(bad)
			_, _, err := b.Row(p)
			wantErr(t, "row", err, syscall.EIO)
			_, _, err = b.Row(p)
			wantErr(t, "row again", err, blobstore.ErrNotHeld)
		},
		"peer": func(t *testing.T, b *blobstore.Block, bad map[int]bool) {
			p := first(bad)
			_, err := b.ReadPieceAt(p, make([]byte, erasure.RowSize), 0)
			wantErr(t, "read", err, syscall.EIO)
			if b.Has(p) {
				t.Error("still held")
			}
		},
		"complete": func(t *testing.T, b *blobstore.Block, bad map[int]bool) {
			drop := erasure.NewPieceSet(b.Geometry().Pieces())
			drop.Add(23)
			if err := b.DropPieces(t.Context(), drop); err != nil {
				t.Fatal(err)
			}
			wantErr(t, "complete", b.Complete(t.Context(), nil), syscall.EIO)
			if err := b.Complete(t.Context(), nil); err != nil {
				t.Errorf("complete from what is left: %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, blobstore.Config{})
			for _, e := range []encoded{e, other} {
				if _, err := s.Import(t.Context(), "block", bytes.NewReader(e.Content), nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			disk := onBadDisk(t, filepath.Join(dir, "blocks", e.ID().String(), "content"))
			s = open(t, dir, blobstore.Config{})
			b, err := s.Block(e.ID())
			if err != nil {
				t.Fatal(err)
			}
			bad := disk.spoil(t, 3, erasure.RowSize)
			meet(t, b, bad)
			wantWhole(t, s, other)
			scrub(t, b)
			if _, err := b.Repair(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			wantWhole(t, s, e)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestUnreadableFilesDoNotKeepTheStoreFromOpening: of a block whose description
// cannot be read nothing is known, of others everything.
func TestUnreadableFilesDoNotKeepTheStoreFromOpening(t *testing.T) {
	e, other := encodeSmall(t, 92), encodeSmall(t, 93)
	dir := t.TempDir()
	s := open(t, dir, blobstore.Config{})
	for _, e := range []encoded{e, other} {
		if _, err := s.Import(t.Context(), "block", bytes.NewReader(e.Content), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "blocks", e.ID().String())
	onBadDisk(t, filepath.Join(folder, "info")).spoil(t, 1, 100)
	s = open(t, dir, blobstore.Config{Quota: 64 << 20})
	_, err := s.Block(e.ID())
	wantErr(t, "block", err, blobstore.ErrDamaged)
	wantErr(t, "block", err, syscall.EIO)
	wantWhole(t, s, other)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Unmount(filepath.Join(folder, "info"), syscall.MNT_DETACH); err != nil {
		t.Fatal(err)
	}

	// Without an index every piece is read.
	bad := onBadDisk(t, filepath.Join(folder, "parity")).spoil(t, 4, erasure.RowSize)
	remove(t, filepath.Join(dir, "index.db"))
	s = open(t, dir, blobstore.Config{})
	b, err := s.Block(e.ID())
	if err != nil {
		t.Fatal(err)
	}
	if b.Held().Count() != 24-len(bad) || b.Quarantined().Count() != len(bad) {
		t.Errorf("%d pieces held and %d quarantined, want %d and %d", b.Held().Count(), b.Quarantined().Count(), 24-len(bad), len(bad))
	}
	if _, err := b.Repair(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, s, e)
	if err := s.Close(); err != nil { // before the disk goes
		t.Fatal(err)
	}
}

// TestIndexThatGoesAwayStopsTheStoreNotTheProcess: bbolt reads by mmap, where an
// I/O error is a signal.
func TestIndexThatGoesAwayStopsTheStoreNotTheProcess(t *testing.T) {
	e := encodeSmall(t, 94)
	dir, _ := stored(t, e)
	s := open(t, dir, blobstore.Config{})
	b, err := s.Block(e.ID())
	if err != nil {
		t.Fatal(err)
	}
	truncate(t, filepath.Join(dir, "index.db"), 0)
	wantErr(t, "note", b.SetNote(t.Context(), "pin", []byte("no")), blobstore.ErrFailed)
	if b.Note("pin") != nil {
		t.Error("a note was read from nowhere")
	}
	wantErr(t, "delete", s.Delete(t.Context(), e.ID()), blobstore.ErrFailed)
	if !s.Failed() {
		t.Error("the store does not say that it has failed")
	}
	wantPieces(t, b, e) // reading goes on
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, open(t, dir, blobstore.Config{}), e)
}

// TestPowerCutReallyLosesWhatWasNotSynced: else the test that nothing is lost
// would prove nothing.
func TestPowerCutReallyLosesWhatWasNotSynced(t *testing.T) {
	eachFileSystem(t, func(t *testing.T, d disk) {
		data := content(1, 1<<20)
		for name, sync := range map[string]bool{"synced": true, "not": false} {
			f, err := os.Create(filepath.Join(d.dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if _, err = f.Write(data); err == nil && sync {
				err = f.Sync()
			}
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			if sync {
				root, err := os.Open(d.dir)
				if err == nil {
					err = errors.Join(root.Sync(), root.Close())
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cutPower(d.dir); err != nil {
			t.Skipf("cannot cut the power: %v", err)
		}
		d.remount(t)
		if got, err := os.ReadFile(filepath.Join(d.dir, "synced")); err != nil || !bytes.Equal(got, data) {
			t.Errorf("what was synced is lost (%v)", err)
		}
		if got, err := os.ReadFile(filepath.Join(d.dir, "not")); err == nil && bytes.Equal(got, data) {
			t.Error("what was not synced is there: this disk cannot show a power cut")
		}
	})
}
