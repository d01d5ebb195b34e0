package blobstore_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"granary/blobstore"
	"granary/erasure"
)

func usage(t *testing.T, s *blobstore.Store) int64 {
	t.Helper()
	u, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	return u.Bytes
}

// TestQuotaIsKeptToTheByte fills a store piece by piece, row by row in an order
// that makes the files as fragmented as they can be.
func TestQuotaIsKeptToTheByte(t *testing.T) {
	const quota = 6 << 20
	e := encode(t, 50, 700*erasure.RowSize) // pieces of two rows
	g := e.Geometry()
	dir := t.TempDir()
	s := open(t, dir, blobstore.Config{Quota: quota})
	b := put(t, s, e.Bundle)
	var full *blobstore.QuotaError
	held := 0
	for i := range g.Pieces() {
		p := i * 11 % g.Pieces()
		before := usage(t, s)
		if _, err := b.WritePieceAt(p, e.Piece(p)[erasure.RowSize:], erasure.RowSize); err != nil {
			if !errors.As(err, &full) || !errors.Is(err, blobstore.ErrQuota) {
				t.Fatalf("piece %d: %v", p, err)
			}
			if after := usage(t, s); after != before {
				t.Errorf("%d bytes written by a refused write", after-before)
			}
			break
		}
		if _, err := b.WritePieceAt(p, e.Piece(p)[:erasure.RowSize], 0); err != nil {
			t.Fatalf("second half of a piece whose space is reserved: %v", err)
		}
		if err := b.CommitPiece(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		held++
		if got := usage(t, s); got > quota {
			t.Fatalf("%d bytes on disk, quota %d", got, quota)
		}
	}
	if full == nil || full.Need != 2*erasure.RowSize || full.Free >= full.Need || full.Free < 0 {
		t.Fatalf("refused with %+v", full)
	}
	if got := usage(t, s); got < quota*9/10 {
		t.Errorf("refused at %d bytes of %d", got, quota)
	}
	// Nothing else gets in, and what is there can be used and given back.
	if _, err := s.Import(t.Context(), "block", bytes.NewReader(make([]byte, 1<<20)), nil); !errors.Is(err, blobstore.ErrQuota) {
		t.Errorf("import: %v", err)
	}
	wantErr(t, "complete", b.Complete(t.Context(), nil), erasure.ErrTooFewRows)
	_, err := s.Put(t.Context(), encode(t, 51, 100*erasure.RowSize).Bundle)
	wantErr(t, "put", err, blobstore.ErrQuota)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir, blobstore.Config{Quota: quota})
	if b, err = s.Block(e.ID()); err != nil || b.Held().Count() != held {
		t.Fatalf("after restart: %v", err)
	}
	next := held * 11 % g.Pieces()
	_, err = b.WritePieceAt(next, e.Piece(next), 0)
	wantErr(t, "write after restart", err, blobstore.ErrQuota)
	drop := erasure.NewPieceSet(g.Pieces())
	drop.Add(0)
	if err := b.DropPieces(t.Context(), drop); err != nil {
		t.Fatal(err)
	}
	if _, err := b.WritePieceAt(next, e.Piece(next), 0); err != nil {
		t.Errorf("write after a drop: %v", err)
	}
	if err := s.Delete(t.Context(), e.ID()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Import(t.Context(), "block", bytes.NewReader(e.Content[:2<<20]), nil); err != nil {
		t.Errorf("import after delete: %v", err)
	}
}

func TestImportNeverPassesTheQuota(t *testing.T) {
	for _, quota := range []int64{1, 200 << 10, 1 << 20, 5 << 20} {
		dir := t.TempDir()
		s := open(t, dir, blobstore.Config{Quota: quota})
		r := &watchingReader{check: func() {
			if u, err := s.Usage(); err == nil && u.Bytes > max(quota, 200<<10) { // an empty store has its index
				t.Errorf("%d bytes on disk, quota %d", u.Bytes, quota)
			}
		}}
		_, err := s.Import(t.Context(), "block", r, nil)
		wantErr(t, "import", err, blobstore.ErrQuota)
		names, err := os.ReadDir(filepath.Join(dir, "blocks"))
		if err != nil || len(names) > 0 {
			t.Errorf("left behind: %v (%v)", names, err)
		}
	}
}

// watchingReader never ends and calls check on the way.
type watchingReader struct{ check func() }

func (r *watchingReader) Read(p []byte) (int, error) {
	r.check()
	return min(len(p), 100_000), nil
}

// fillDisk fills the disk that dir is on, and checks that the store in dir says
// so, loses nothing and works again when there is space.
func fillDisk(t *testing.T, dir string) {
	e := encode(t, 52, 100*erasure.RowSize)
	s := open(t, dir, blobstore.Config{})
	b := put(t, s, e.Bundle)
	var full error
	held := 0
	for p := range e.Geometry().Pieces() {
		_, err := b.WritePieceAt(p, e.Piece(p), 0)
		if err == nil {
			err = b.CommitPiece(t.Context(), p)
		}
		if err != nil {
			full = err
			break
		}
		held++
	}
	wantErr(t, "write", full, blobstore.ErrDiskFull)
	_, err := s.Import(t.Context(), "block", bytes.NewReader(make([]byte, 1<<20)), nil)
	wantErr(t, "import", err, blobstore.ErrDiskFull)
	_, err = s.Put(t.Context(), encode(t, 53, 100*erasure.RowSize).Bundle)
	wantErr(t, "put", err, blobstore.ErrDiskFull)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, blobstore.Config{})
	if b, err = s.Block(e.ID()); err != nil || b.Held().Count() != held {
		t.Fatalf("%d pieces were held: %v", held, err)
	}
	for p := range b.Held().All() {
		got := make([]byte, erasure.RowSize)
		if _, err := b.ReadPieceAt(p, got, 0); err != nil || !bytes.Equal(got, e.Piece(p)) {
			t.Errorf("piece %d differs (%v)", p, err)
		}
	}
	drop := erasure.NewPieceSet(e.Geometry().Pieces())
	for p := range 20 {
		drop.Add(p)
	}
	if err := b.DropPieces(t.Context(), drop); err != nil {
		t.Fatal(err)
	}
	hold(t, b, e, 198, 199)
}

// TestQuotaCountsWhatIsBesideTheBlocks: a ledger's files, keys, an index that
// was put aside.
func TestQuotaCountsWhatIsBesideTheBlocks(t *testing.T) {
	const beside = 1 << 20
	var free [2]int64
	for i := range free {
		dir := t.TempDir()
		if i == 1 {
			if err := os.MkdirAll(filepath.Join(dir, "ledger"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "ledger", "log"), content(1, beside), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, dir, blobstore.Config{Quota: 4 << 20})
		var err error
		if free[i], err = s.Free(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := free[0] - free[1]; diff < beside || diff > beside+64<<10 {
		t.Errorf("%d bytes beside the blocks take %d of the quota", beside, diff)
	}
	s := open(t, t.TempDir(), blobstore.Config{})
	if got, err := s.Free(); err != nil || got != math.MaxInt64 {
		t.Errorf("without a quota %d bytes are free (%v)", got, err)
	}
}

// TestCostIsNoLessThanWhatIsCounted: who asks before he writes is not refused
// later.
func TestCostIsNoLessThanWhatIsCounted(t *testing.T) {
	for _, length := range []int{1, 5 * erasure.RowSize, 600 * erasure.RowSize} {
		e := encode(t, 71, length)
		s := open(t, t.TempDir(), blobstore.Config{})
		b, err := s.Import(t.Context(), "block", bytes.NewReader(e.Content), nil)
		if err != nil {
			t.Fatal(err)
		}
		if cost := blobstore.Cost(e.Geometry(), b.Held()); cost < b.Bytes() || cost > b.Bytes()+4096 {
			t.Errorf("%d bytes: cost %d, counted %d", length, cost, b.Bytes())
		}
	}
}
