package blobstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"granary/blobstore"
	"granary/erasure"
)

func TestCommitRefusesWhatDoesNotVerify(t *testing.T) {
	e := encode(t, 3, 600*erasure.RowSize) // pieces of two rows
	for _, proven := range []bool{true, false} {
		s := open(t, t.TempDir(), blobstore.Config{})
		bundle := e.bundle
		if !proven {
			bundle.Proof = nil
		}
		b := put(t, s, bundle)
		bad := bytes.Clone(e.piece(5))
		bad[20_000] ^= 1
		if _, err := b.WritePieceAt(5, bad, 0); err != nil {
			t.Fatal(err)
		}
		var pieceErr *blobstore.PieceError
		if err := b.CommitPiece(t.Context(), 5); !errors.As(err, &pieceErr) || pieceErr.Piece != 5 {
			t.Errorf("proven=%v: altered piece: %v, want *PieceError", proven, err)
		}
		if b.Has(5) {
			t.Error("altered piece is held")
		}
		// It may be written again, in parts, as a torrent engine does.
		if _, err := b.WritePieceAt(5, e.piece(5)[erasure.RowSize:], erasure.RowSize); err != nil {
			t.Fatal(err)
		}
		if err := b.CommitPiece(t.Context(), 5); err != nil || !b.Has(5) || b.Rows() != 2 {
			t.Errorf("proven=%v: mended piece: %v", proven, err)
		}
	}
}

func TestHeldPieceIsImmutable(t *testing.T) {
	e := encode(t, 4, 4*erasure.RowSize)
	b := put(t, open(t, t.TempDir(), blobstore.Config{}), e.bundle)
	hold(t, b, e, 1)
	_, err := b.WritePieceAt(1, make([]byte, 100), 0)
	wantErr(t, "write to a held piece", err, blobstore.ErrHeld)
	got := make([]byte, erasure.RowSize)
	if _, err := b.ReadPieceAt(1, got, 0); err != nil || !bytes.Equal(got, e.piece(1)) {
		t.Errorf("held piece changed (%v)", err)
	}
	if err := b.CommitPiece(t.Context(), 1); err != nil {
		t.Errorf("commit of a held piece: %v", err)
	}
}

func TestReadsStayWithinWrittenPieces(t *testing.T) {
	e := encode(t, 5, 4*erasure.RowSize)
	b := put(t, open(t, t.TempDir(), blobstore.Config{}), e.bundle)
	buf := make([]byte, 10)
	_, err := b.ReadPieceAt(0, buf, 0)
	wantErr(t, "read of nothing", err, blobstore.ErrNotHeld)
	if _, err := b.WritePieceAt(0, e.piece(0), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ReadPieceAt(0, buf, 7); err != nil || !bytes.Equal(buf, e.piece(0)[7:17]) {
		t.Errorf("written and not committed: %v", err)
	}
	if n, err := b.ReadPieceAt(0, buf, erasure.RowSize-4); n != 4 || err != io.EOF {
		t.Errorf("read across the end: %d bytes, %v; want 4, EOF", n, err)
	}
	for _, bad := range []struct {
		piece int
		off   int64
	}{{-1, 0}, {8, 0}, {0, -1}, {0, erasure.RowSize + 1}} {
		_, err := b.ReadPieceAt(bad.piece, buf, bad.off)
		wantErr(t, "read outside", err, blobstore.ErrPiece)
		_, err = b.WritePieceAt(bad.piece, buf, bad.off)
		wantErr(t, "write outside", err, blobstore.ErrPiece)
	}
	_, err = b.WritePieceAt(0, buf, erasure.RowSize-9)
	wantErr(t, "write across the end", err, blobstore.ErrPiece)
	wantErr(t, "commit outside", b.CommitPiece(t.Context(), 8), blobstore.ErrPiece)
	_, _, err = b.Row(8)
	wantErr(t, "row outside", err, blobstore.ErrPiece)
	_, _, err = b.Row(0)
	wantErr(t, "row of a piece that is not held", err, blobstore.ErrNotHeld)
	_, err = io.ReadAll(b.Content())
	wantErr(t, "content of a block that is not there", err, blobstore.ErrNotHeld)
}

// TestManyCommitAtOnce has several callers fight over the same pieces of
// several blocks, some with garbage, while others read and drop.
func TestManyCommitAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, blobstore.Config{})
	var blocks []encoded
	for i := range 3 {
		blocks = append(blocks, encode(t, uint64(20+i), 24*erasure.RowSize))
	}
	var wg sync.WaitGroup
	for _, e := range blocks {
		for caller := range 4 {
			wg.Go(func() {
				b, err := s.Put(t.Context(), e.bundle)
				if err != nil {
					t.Error(err)
					return
				}
				for i := range e.geometry().Pieces() {
					p := (i + caller*5) % e.geometry().Pieces()
					data := e.piece(p)
					if caller == 3 && p%2 == 0 {
						data = make([]byte, len(data))
					}
					_, err := b.WritePieceAt(p, data, 0)
					if err != nil && !errors.Is(err, blobstore.ErrHeld) {
						t.Error(err)
					}
					var bad *blobstore.PieceError
					if err := b.CommitPiece(t.Context(), p); err != nil && !errors.As(err, &bad) {
						t.Error(err)
					}
					if b.Has(p) {
						got := make([]byte, len(data))
						if _, err := b.ReadPieceAt(p, got, 0); err != nil || !bytes.Equal(got, e.piece(p)) {
							t.Errorf("held piece %d differs (%v)", p, err)
						}
					}
				}
			})
		}
	}
	wg.Wait()
	for _, e := range blocks {
		b, err := s.Block(e.id())
		if err != nil {
			t.Fatal(err)
		}
		for p := range e.geometry().Pieces() {
			if !b.Has(p) {
				hold(t, b, e, p)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, blobstore.Config{})
	for _, b := range s.Blocks() {
		if b.Held().Count() != b.Geometry().Pieces() || b.Whole() {
			t.Errorf("%d pieces, whole %v; want all, not yet whole", b.Held().Count(), b.Whole())
		}
		if err := b.Complete(t.Context(), nil); err != nil || !b.Whole() {
			t.Errorf("complete: %v", err)
		}
	}
}

func TestFailedSyncIsNotTrustedTheSecondTime(t *testing.T) {
	e := encode(t, 6, 3*erasure.RowSize)
	var mu sync.Mutex
	fail, writes := false, 0
	broken := errors.New("no sync today")
	cfg := blobstore.Config{}.WithStep(func(step string) error {
		mu.Lock()
		defer mu.Unlock()
		if step == "write" {
			writes++
		}
		if fail && step == "sync content" {
			return broken
		}
		return nil
	})
	b := put(t, open(t, t.TempDir(), cfg), e.bundle)
	fail = true
	if _, err := b.WritePieceAt(0, e.piece(0), 0); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "commit without fsync", b.CommitPiece(t.Context(), 0), broken)
	if b.Has(0) {
		t.Error("held without fsync")
	}
	mu.Lock()
	fail, writes = false, 0
	mu.Unlock()
	if err := b.CommitPiece(t.Context(), 0); err != nil || !b.Has(0) {
		t.Fatalf("second commit: %v", err)
	}
	if writes != 1 {
		t.Errorf("%d writes before the second fsync, want 1: the system may have dropped the bytes", writes)
	}
}

func TestIndexFailureHoldsNothing(t *testing.T) {
	e := encode(t, 6, 3*erasure.RowSize)
	broken := errors.New("no index today")
	fail := true
	cfg := blobstore.Config{}.WithStep(func(step string) error {
		if fail && step == "commit: index" {
			return broken
		}
		return nil
	})
	b := put(t, open(t, t.TempDir(), cfg), e.bundle)
	if _, err := b.WritePieceAt(4, e.piece(4), 0); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "commit", b.CommitPiece(t.Context(), 4), broken)
	if b.Has(4) {
		t.Error("held without an entry")
	}
	fail = false
	if err := b.CommitPiece(t.Context(), 4); err != nil || !b.Has(4) {
		t.Errorf("second commit: %v", err)
	}
}

func TestCompleteKeepsOthersWaiting(t *testing.T) {
	e := encode(t, 9, 4*erasure.RowSize)
	reached, goOn := make(chan bool), make(chan bool)
	cfg := blobstore.Config{}.WithStep(func(step string) error {
		if step == "complete: check" {
			reached <- true
			<-goOn
		}
		return nil
	})
	s := open(t, t.TempDir(), cfg)
	b := put(t, s, e.bundle)
	hold(t, b, e, 0, 1, 6, 7)
	done := make(chan error)
	go func() { done <- b.Complete(t.Context(), nil) }()
	<-reached

	// What waits gives up with its context.
	tired := errors.New("tired of waiting")
	for name, f := range map[string]func(context.Context) error{
		"commit":   func(ctx context.Context) error { return b.CommitPiece(ctx, 2) },
		"drop":     func(ctx context.Context) error { return b.DropPieces(ctx, b.Held()) },
		"complete": func(ctx context.Context) error { return b.Complete(ctx, nil) },
		"delete":   func(ctx context.Context) error { return s.Delete(ctx, e.id()) },
	} {
		short, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, tired)
		wantErr(t, name, f(short), tired)
		cancel()
	}
	// Reading goes on, of what is held.
	_, err := b.ReadPieceAt(2, make([]byte, 1), 0)
	wantErr(t, "read of a piece that is being recovered", err, blobstore.ErrNotHeld)
	if _, _, err := b.Row(6); err != nil {
		t.Errorf("row of a held piece: %v", err)
	}
	// What still waits finds the block whole, and its garbage unwanted.
	waiting := make(chan error)
	go func() {
		_, err := b.WritePieceAt(2, make([]byte, erasure.RowSize), 0)
		waiting <- err
	}()
	go func() { waiting <- b.CommitPiece(t.Context(), 3) }()
	go func() { waiting <- b.Complete(t.Context(), nil) }()
	close(goOn)
	if err := <-done; err != nil || !b.Whole() {
		t.Errorf("complete: %v", err)
	}
	for range 3 {
		if err := <-waiting; err != nil {
			wantErr(t, "write", err, blobstore.ErrHeld)
		}
	}
	got := make([]byte, erasure.RowSize)
	if _, err := b.ReadPieceAt(2, got, 0); err != nil || !bytes.Equal(got, e.piece(2)) {
		t.Errorf("recovered piece differs (%v)", err)
	}
}

func TestCompleteCutShortHoldsWhatItHeld(t *testing.T) {
	e := encode(t, 10, 8*erasure.RowSize)
	ctx, cancel := context.WithCancel(t.Context())
	cfg := blobstore.Config{}.WithStep(func(step string) error {
		if step == "complete: check" {
			cancel()
		}
		return nil
	})
	dir := t.TempDir()
	s := open(t, dir, cfg)
	b := put(t, s, e.bundle)
	hold(t, b, e, 0, 1, 2, 3, 12, 13, 14, 15)
	wantErr(t, "complete", b.Complete(ctx, nil), context.Canceled)
	if b.Whole() || b.Held().Count() != 8 {
		t.Errorf("%d pieces held, want the 8 before", b.Held().Count())
	}
	if err := b.Complete(t.Context(), nil); err != nil || !b.Whole() {
		t.Errorf("second complete: %v", err)
	}
}

// TestPublishersLieIsToldFromAPeers has a piece that hashes right and has the wrong combination.
func TestPublishersLieIsToldFromAPeers(t *testing.T) {
	e, other := encode(t, 14, 4*erasure.RowSize), encode(t, 15, 4*erasure.RowSize)
	lie := e.bundle
	lie.Info.Parity, lie.Layers.Parity = other.bundle.Info.Parity, other.bundle.Layers.Parity
	b := put(t, open(t, t.TempDir(), blobstore.Config{}), lie)
	var row *erasure.RowError
	if _, err := b.WritePieceAt(4, other.piece(4), 0); err != nil {
		t.Fatal(err)
	}
	if err := b.CommitPiece(t.Context(), 4); !errors.As(err, &row) {
		t.Errorf("the publisher's lie: %v, want *erasure.RowError", err)
	}
	if _, err := b.WritePieceAt(4, make([]byte, erasure.RowSize), 0); err != nil {
		t.Fatal(err)
	}
	var piece *erasure.PieceError
	if err := b.CommitPiece(t.Context(), 4); !errors.As(err, &piece) {
		t.Errorf("a peer's: %v, want *erasure.PieceError", err)
	}
}

// TestUncleanBlockIsRefused has a publisher whose parity is none.
func TestUncleanBlockIsRefused(t *testing.T) {
	e, other := encode(t, 11, 4*erasure.RowSize), encode(t, 12, 4*erasure.RowSize)
	lie := erasure.Bundle{Info: e.bundle.Info, Layers: e.bundle.Layers}
	lie.Info.Parity, lie.Layers.Parity = other.bundle.Info.Parity, other.bundle.Layers.Parity
	lied := encoded{bundle: lie, files: [2][]byte{e.files[0], other.files[1]}}
	s := open(t, t.TempDir(), blobstore.Config{})
	b := put(t, s, lie)
	hold(t, b, lied, 0, 1, 4, 5)
	for range 2 {
		wantErr(t, "complete", b.Complete(t.Context(), nil), erasure.ErrNotClean)
	}
	if b.Whole() || b.Held().Count() != 4 {
		t.Errorf("whole %v, %d pieces; want the 4 that verify", b.Whole(), b.Held().Count())
	}
	if b.Bundle().Proof != nil {
		t.Error("a proof was learnt from an unclean block")
	}
	// All pieces verify and the block is still none.
	for p := range 8 {
		if !b.Has(p) {
			hold(t, b, lied, p)
		}
	}
	wantErr(t, "complete", b.Complete(t.Context(), nil), erasure.ErrNotClean)
}

func TestGoodbyeEndsEverything(t *testing.T) {
	e := encode(t, 13, 2*erasure.RowSize)
	s := open(t, t.TempDir(), blobstore.Config{})
	b := put(t, s, e.bundle)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Put(t.Context(), e.bundle)
	wantErr(t, "put", err, blobstore.ErrClosed)
	_, err = s.Import(t.Context(), "block", bytes.NewReader(e.content), nil)
	wantErr(t, "import", err, blobstore.ErrClosed)
	wantErr(t, "commit", b.CommitPiece(t.Context(), 0), blobstore.ErrClosed)
	wantErr(t, "complete", b.Complete(t.Context(), nil), blobstore.ErrClosed)
	wantErr(t, "delete", s.Delete(t.Context(), e.id()), blobstore.ErrClosed)
	_, err = b.WritePieceAt(0, e.piece(0), 0)
	wantErr(t, "write", err, blobstore.ErrClosed)
}
