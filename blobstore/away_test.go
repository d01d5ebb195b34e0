package blobstore_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"

	"granary/blobstore"
	"granary/erasure"
)

// TestOnlyLostBytesAreQuarantined: what else a system says when it is asked to
// read costs nothing, whoever asks, because tomorrow it may read.
func TestOnlyLostBytesAreQuarantined(t *testing.T) {
	e := encodeSmall(t, 95)
	dir, _ := stored(t, e)
	var fault atomic.Value
	s := open(t, dir, blobstore.Config{}.WithStep(func(step string) error {
		if err, set := fault.Load().(syscall.Errno); set && err != 0 && step == "read" {
			return err
		}
		return nil
	}))
	b, err := s.Block(e.ID())
	if err != nil {
		t.Fatal(err)
	}
	for _, errno := range []syscall.Errno{
		syscall.ESTALE, syscall.ENOTCONN, syscall.EMFILE, syscall.ENOMEM, syscall.ETIMEDOUT, syscall.EACCES, syscall.EINTR,
	} {
		fault.Store(errno)
		_, err := b.ReadPieceAt(3, make([]byte, erasure.RowSize), 0)
		wantErr(t, "read", err, errno)
		_, err = io.ReadAll(b.Content())
		wantErr(t, "content", err, errno)
		_, _, err = b.Row(3)
		wantErr(t, "row", err, errno)
		_, err = b.Scrub(t.Context(), blobstore.ScrubConfig{})
		wantErr(t, "scrub", err, errno)
		if _, damage := errors.AsType[*blobstore.PieceError](err); damage || errors.Is(err, blobstore.ErrDamaged) {
			t.Errorf("%v is called damage: %v", errno, err)
		}
		if !b.Whole() {
			t.Fatalf("%v: %d pieces quarantined", errno, b.Quarantined().Count())
		}
	}
	lost := syscall.EIO // of every system
	fault.Store(lost)
	_, _, err = b.Row(3)
	wantErr(t, "row", err, lost)
	if b.Has(3) || b.Quarantined().Count() != 1 {
		t.Errorf("an unreadable piece is held, or others are not: %d quarantined", b.Quarantined().Count())
	}
	fault.Store(syscall.ESTALE)
	_, err = b.Repair(t.Context(), nil)
	wantErr(t, "repair", err, syscall.ESTALE)
	fault.Store(syscall.Errno(0))
	if _, err := b.Repair(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, s, e)
}

// TestTruncatedPieceIsFoundByWhoeverReadsIt, also by who reads all of them.
func TestTruncatedPieceIsFoundByWhoeverReadsIt(t *testing.T) {
	e := encodeSmall(t, 96)
	dir, folder := stored(t, e)
	s := open(t, dir, blobstore.Config{})
	b, err := s.Block(e.ID())
	if err != nil {
		t.Fatal(err)
	}
	drop := erasure.NewPieceSet(b.Geometry().Pieces())
	drop.Add(23)
	if err := b.DropPieces(t.Context(), drop); err != nil {
		t.Fatal(err)
	}
	truncate(t, filepath.Join(folder, "content"), 10*erasure.RowSize)
	err = b.Complete(t.Context(), nil)
	if _, damage := errors.AsType[*blobstore.PieceError](err); !damage || b.Has(10) || b.Has(11) || !b.Has(9) {
		t.Errorf("complete: %v, %d pieces quarantined; want 10 and 11", err, b.Quarantined().Count())
	}
	if err := b.Complete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, s, e)
}

// TestDescriptionThatIsAwayIsNotDamaged: nothing is called damaged, forgotten or
// written anew because it could not be opened.
func TestDescriptionThatIsAwayIsNotDamaged(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a link that names itself is no file there")
	}
	e := encodeSmall(t, 97)
	for _, name := range []string{"info", "layers", "proof"} {
		t.Run(name, func(t *testing.T) {
			dir, folder := stored(t, e)
			path := filepath.Join(folder, name)
			away := func() {
				t.Helper()
				if err := errors.Join(os.Rename(path, path+".away"), os.Symlink(path, path)); err != nil { // ELOOP
					t.Fatal(err)
				}
			}
			back := func() {
				t.Helper()
				if err := os.Rename(path+".away", path); err != nil {
					t.Fatal(err)
				}
			}
			notDamaged := func(what string, err error) {
				t.Helper()
				if wantErr(t, what, err, syscall.ELOOP); errors.Is(err, blobstore.ErrDamaged) {
					t.Errorf("%s: %v", what, err)
				}
			}
			s := open(t, dir, blobstore.Config{})
			b, err := s.Block(e.ID())
			if err != nil {
				t.Fatal(err)
			}
			away()
			_, err = b.Scrub(t.Context(), blobstore.ScrubConfig{})
			notDamaged("scrub", err)
			if name != "info" { // nothing but a scrub reads it again
				_, _, err = b.Row(3)
				notDamaged("row", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}

			s = open(t, dir, blobstore.Config{})
			if _, err := s.Block(e.ID()); name != "proof" { // which Open does not look at
				notDamaged("block", err)
			}
			back()
			b = put(t, s, e.Bundle)
			wantWhole(t, s, e)
			if r := scrub(t, b); len(r.Mended) > 0 {
				t.Errorf("mended %v", r.Mended)
			}
			if _, _, err := b.Row(3); err != nil {
				t.Error(err)
			}
		})
	}
}
