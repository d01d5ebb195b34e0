package blobstore_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"granary/blobstore"
	"granary/erasure"
)

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
	b := put(t, open(t, t.TempDir(), cfg), e.Bundle)
	fail = true
	if _, err := b.WritePieceAt(0, e.Piece(0), 0); err != nil {
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
	b := put(t, open(t, t.TempDir(), cfg), e.Bundle)
	if _, err := b.WritePieceAt(4, e.Piece(4), 0); err != nil {
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
	b := put(t, s, e.Bundle)
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
		"delete":   func(ctx context.Context) error { return s.Delete(ctx, e.ID()) },
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
	if _, err := b.ReadPieceAt(2, got, 0); err != nil || !bytes.Equal(got, e.Piece(2)) {
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
	b := put(t, s, e.Bundle)
	hold(t, b, e, 0, 1, 2, 3, 12, 13, 14, 15)
	wantErr(t, "complete", b.Complete(ctx, nil), context.Canceled)
	if b.Whole() || b.Held().Count() != 8 {
		t.Errorf("%d pieces held, want the 8 before", b.Held().Count())
	}
	if err := b.Complete(t.Context(), nil); err != nil || !b.Whole() {
		t.Errorf("second complete: %v", err)
	}
}
