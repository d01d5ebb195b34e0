package blobstore_test

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"granary/blobstore"
	"granary/erasure"
)

func TestScratchIsReservedAndGoes(t *testing.T) {
	const quota = 1 << 20
	dir := t.TempDir()
	s := open(t, dir, blobstore.Config{Quota: quota})
	free := func() int64 {
		n, err := s.Free()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := free()
	_, err := s.Scratch(t.Context(), before)
	wantErr(t, "more than there is", err, blobstore.ErrQuota)
	const rows = 20
	f, err := s.Scratch(t.Context(), rows*erasure.RowSize)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		if _, err := f.WriteAt(content(1, erasure.RowSize), int64(i*7%rows)*erasure.RowSize); err != nil {
			t.Fatal(err)
		}
	}
	reserved := before - free()
	if taken, err := s.Usage(); err != nil || reserved < rows*erasure.RowSize || taken.Bytes > quota {
		t.Errorf("%d bytes reserved, %d on disk (%v)", reserved, taken.Bytes, err)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "blocks", ".*")); err != nil || len(left) > 0 || free() != before {
		t.Errorf("left behind: %v, %d bytes (%v)", left, before-free(), err)
	}
}

// TestImportAsksForRoom: who does not know how much will come is asked for room
// on the way, and refused when there is none.
func TestImportAsksForRoom(t *testing.T) {
	e := encode(t, 76, 64*erasure.RowSize)
	var s *blobstore.Store
	var asked int
	s = open(t, t.TempDir(), blobstore.Config{Quota: 4 << 20, Room: func(ctx context.Context, bytes int64) error {
		asked++
		return s.Delete(ctx, e.ID())
	}})
	if _, err := s.Import(t.Context(), "block", bytes.NewReader(e.Content), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Import(t.Context(), "block", bytes.NewReader(content(77, 90*erasure.RowSize)), nil); err != nil || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	_, err := s.Import(t.Context(), "block", bytes.NewReader(content(78, 90*erasure.RowSize)), nil)
	wantErr(t, "no more room", err, blobstore.ErrQuota)
}
