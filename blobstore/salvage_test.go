package blobstore_test

import (
	"runtime"
	"sync"
	"syscall"
	"testing"

	"granary/blobstore"
	"granary/erasure"
)

// unfinished makes a closed store in which the pieces of drop were committed and
// dropped, piece 3 is held, pieces to 60 were written whole and not committed,
// and piece 61 in part.
func unfinished(t *testing.T, e encoded, drop ...int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, dir, blobstore.Config{})
	bundle := e.Bundle
	bundle.Proof = nil // as from a .torrent
	b := put(t, s, bundle)
	hold(t, b, e, append([]int{3}, drop...)...)
	if len(drop) > 0 {
		pieces := erasure.NewPieceSet(b.Geometry().Pieces())
		for _, p := range drop {
			pieces.Add(p)
		}
		if err := b.DropPieces(t.Context(), pieces); err != nil {
			t.Fatal(err)
		}
	}
	for p := range 62 {
		data := e.Piece(p)
		if p == 61 {
			data = data[:len(data)-1]
		}
		if p == 3 {
			continue
		}
		if _, err := b.WritePieceAt(p, data, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPiecesWrittenWholeAreHeldAfterARestart: nobody need bring them again, and
// the bytes of those cut short are given back.
func TestPiecesWrittenWholeAreHeldAfterARestart(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("what a sparse file takes is not told there")
	}
	e := encode(t, 39, 64*erasure.RowSize)
	dir := unfinished(t, e)
	for range 2 { // once found they are as any other
		s := open(t, dir, blobstore.Config{})
		b, err := s.Block(e.ID())
		if err != nil {
			t.Fatal(err)
		}
		if b.Held().Count() != 61 || b.Has(61) {
			t.Errorf("%d pieces held, want the first 61", b.Held().Count())
		}
		wantPieces(t, b, e)
		if u, err := s.Usage(); err != nil || u.Bytes > 66*erasure.RowSize {
			t.Errorf("%d bytes used with 61 pieces held (%v)", u.Bytes, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFoundPiecesAreWrittenAnewBeforeTheFsync: that of the process before may have
// failed, and the system have dropped the bytes and yet show them.
func TestFoundPiecesAreWrittenAnewBeforeTheFsync(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("what a sparse file takes is not told there")
	}
	e := encode(t, 39, 64*erasure.RowSize)
	var mu sync.Mutex
	writes, synced := 0, 0
	open(t, unfinished(t, e), blobstore.Config{}.WithStep(func(step string) error {
		mu.Lock()
		defer mu.Unlock()
		switch step {
		case "write":
			writes++
		case "sync content":
			synced = writes
		}
		return nil
	}))
	if synced != 60 {
		t.Errorf("%d of 60 pieces written before the fsync", synced)
	}
}

// TestWhatIsInTheWayOfFindingPiecesCostsOnlyThem: the store opens, and the block
// is as it was.
func TestWhatIsInTheWayOfFindingPiecesCostsOnlyThem(t *testing.T) {
	e := encode(t, 39, 64*erasure.RowSize)
	for _, c := range []struct {
		step  string
		fault syscall.Errno
	}{
		{"sync content", syscall.ENOSPC}, {"sync content", syscall.EIO}, {"write", syscall.ENOSPC}, {"read", syscall.EMFILE},
	} {
		dir := unfinished(t, e)
		var mu sync.Mutex
		opening := true
		s := open(t, dir, blobstore.Config{}.WithStep(func(step string) error {
			mu.Lock()
			defer mu.Unlock()
			if opening && step == c.step {
				return c.fault
			}
			return nil
		}))
		mu.Lock()
		opening = false
		mu.Unlock()
		b, err := s.Block(e.ID())
		if err != nil {
			t.Errorf("%v of %q: %v", c.fault, c.step, err)
			continue
		}
		wantPieces(t, b, e)
		if runtime.GOOS == "linux" && (b.Held().Count() != 1 || !b.Has(3)) {
			t.Errorf("%v of %q: %d pieces held, want piece 3", c.fault, c.step, b.Held().Count())
		}
		if u, err := s.Usage(); runtime.GOOS == "linux" && (err != nil || u.Bytes > 6*erasure.RowSize) {
			t.Errorf("%v of %q: %d bytes used with one piece held (%v)", c.fault, c.step, u.Bytes, err)
		}
	}
}

// TestDroppedPiecesDoNotComeBack: where some were dropped, what else is there may
// be of them.
func TestDroppedPiecesDoNotComeBack(t *testing.T) {
	e := encode(t, 39, 64*erasure.RowSize)
	s := open(t, unfinished(t, e, 100, 101), blobstore.Config{})
	b, err := s.Block(e.ID())
	if err != nil {
		t.Fatal(err)
	}
	if b.Held().Count() != 1 || !b.Has(3) {
		t.Errorf("%d pieces held, want piece 3", b.Held().Count())
	}
	_, err = b.ReadPieceAt(4, make([]byte, 1), 0)
	wantErr(t, "read", err, blobstore.ErrNotHeld)
	if u, err := s.Usage(); runtime.GOOS == "linux" && (err != nil || u.Bytes > 6*erasure.RowSize) {
		t.Errorf("%d bytes used with one piece held (%v)", u.Bytes, err)
	}
}
