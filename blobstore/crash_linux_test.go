package blobstore_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"granary/blobstore"
	"granary/blobstore/storetest"
	"granary/erasure"
)

// The crash tests run this test binary again as a child that lives the life of
// a store (see live) and is killed on the way. What the child said was done
// must be there when the store is opened again, and life must go on.

const (
	childDir  = "BLOBSTORE_TEST_DIR"
	childStep = "BLOBSTORE_TEST_STEP" // the step to die at, counted from 1
	childCut  = "BLOBSTORE_TEST_CUT"  // cut the power of the file system first
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := childMain(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func childMain(dir string) error {
	var (
		mu   sync.Mutex
		left int // steps until the end
	)
	if _, err := fmt.Sscan(os.Getenv(childStep), &left); err != nil {
		return err
	}
	cfg := blobstore.Config{Quota: lifeQuota}.WithStep(func(step string) error {
		mu.Lock()
		defer mu.Unlock()
		if step == "read" { // leaves nothing behind
			return nil
		}
		if left--; left == 0 {
			if os.Getenv(childCut) != "" {
				if err := cutPower(dir); err != nil {
					return err
				}
			}
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal comes
		}
		return nil
	})
	return live(context.Background(), dir, cfg, func(word string) { fmt.Println(word) })
}

const lifeQuota = 4 << 20

// life is what live works with: one block that comes piece by piece, without a
// proof, and one that is imported.
type life struct{ pieces, imported encoded }

func newLife(ctx context.Context) (l life, err error) {
	if l.pieces, err = storetest.NewEncoded(ctx, 7, 9*erasure.RowSize-1); err == nil {
		l.imported, err = storetest.NewEncoded(ctx, 8, 6*erasure.RowSize)
	}
	return l, err
}

// live does everything a store can do, from wherever an earlier life ended, and
// says each thing when it is done, or before it begins to take something away.
func live(ctx context.Context, dir string, cfg blobstore.Config, say func(string)) error {
	l, err := newLife(ctx)
	if err != nil {
		return err
	}
	s, err := blobstore.Open(ctx, dir, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	unproven := l.pieces.Bundle
	unproven.Proof = nil
	b, err := s.Put(ctx, unproven)
	if err != nil {
		return err
	}
	say("put")
	if err := b.SetNote(ctx, "pin", []byte("yes")); err != nil {
		return err
	}
	say("note")
	errs := make(chan error)
	wanted := []int{0, 2, 4, 6, 8, 9, 11, 13, 15, 17}
	for _, p := range wanted {
		go func() {
			_, err := b.WritePieceAt(p, l.pieces.Piece(p), 0)
			if err == nil || errors.Is(err, blobstore.ErrHeld) {
				err = b.CommitPiece(ctx, p)
			}
			if err == nil {
				say(fmt.Sprint("held ", p))
			}
			errs <- err
		}()
	}
	for range wanted {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		return err
	}
	if _, err := s.Import(ctx, "block", bytes.NewReader(l.imported.Content), nil); err != nil {
		return err
	}
	say("imported")
	if err := b.Complete(ctx, nil); err != nil {
		return err
	}
	say("whole")
	say("damaging")
	if err := damage(dir, b, 5); err != nil {
		return err
	}
	if _, err := b.Scrub(ctx, blobstore.ScrubConfig{Afresh: true}); err != nil {
		return err
	}
	if b.Has(5) {
		return errors.New("the scrub did not see the damage")
	}
	if _, err := b.Repair(ctx, nil); err != nil {
		return err
	}
	say("repaired")
	say("dropping")
	drop := erasure.NewPieceSet(b.Geometry().Pieces())
	drop.Add(3)
	drop.Add(4)
	if err := b.DropPieces(ctx, drop); err != nil {
		return err
	}
	say("deleting")
	if err := s.Delete(ctx, l.imported.ID()); err != nil {
		return err
	}
	say("deleted")
	return s.Close()
}

// damage alters a byte of a content piece of one row behind the store's back.
func damage(dir string, b *blobstore.Block, piece int) error {
	path := filepath.Join(dir, "blocks", b.ID().String(), "content")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte("damage"), int64(piece)*erasure.RowSize+100)
	return err
}

// checkLife opens the store that a child left and checks all that it said.
func checkLife(t *testing.T, dir string, said []string) {
	t.Helper()
	l, err := newLife(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	s, err := blobstore.Open(t.Context(), dir, blobstore.Config{Quota: lifeQuota, Logger: textLogger(&logged)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if d := s.Damaged(); len(d) > 0 {
		t.Errorf("damaged: %v", d)
	}
	if strings.Contains(logged.String(), "level=ERROR") {
		t.Errorf("a crash is no damage: %s", logged.String())
	}
	for _, b := range s.Blocks() {
		e := l.pieces
		if b.ID() == l.imported.ID() {
			e = l.imported
		}
		for p := range b.Held().All() {
			if p == 5 && slices.Contains(said, "damaging") && !slices.Contains(said, "repaired") {
				continue // by our own hand
			}
			got := make([]byte, len(e.Piece(p)))
			if _, err := b.ReadPieceAt(p, got, 0); err != nil || !bytes.Equal(got, e.Piece(p)) {
				t.Errorf("held piece %d is not what was stored (%v)", p, err)
			}
		}
		if b.Whole() && b.Bundle().Proof == nil {
			t.Error("whole without a proof")
		}
	}
	has := func(word string) bool { return slices.Contains(said, word) }
	b, err := s.Block(l.pieces.ID())
	if has("put") && err != nil {
		t.Fatalf("put and lost: %v", err)
	}
	if has("note") && string(b.Note("pin")) != "yes" {
		t.Error("note lost")
	}
	for _, word := range said {
		var p int
		if n, _ := fmt.Sscanf(word, "held %d", &p); n == 1 && !b.Has(p) && (p != 4 || !has("dropping")) {
			t.Errorf("piece %d was held and is lost", p)
		}
	}
	if has("whole") && !has("damaging") && !b.Whole() || has("repaired") && !has("dropping") && !b.Whole() {
		t.Error("whole and not any more")
	}
	if has("deleting") && b.Rows() != 16 {
		t.Errorf("%d rows after the drop, want 16", b.Rows())
	}
	i, err := s.Block(l.imported.ID())
	if has("imported") && !has("deleting") && (err != nil || !i.Whole()) {
		t.Errorf("imported and lost: %v", err)
	}
	if has("deleted") && !errors.Is(err, blobstore.ErrNotFound) {
		t.Errorf("deleted and there: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "blocks", ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	if u, err := s.Usage(); err != nil || u.Bytes > lifeQuota {
		t.Errorf("%d bytes used of %d (%v)", u.Bytes, lifeQuota, err)
	}
}

// runChild lives in a child until step, and returns what it said and whether
// it came to its end first.
func runChild(t *testing.T, dir string, step int, env ...string) (said []string, ended bool) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), append(env, childDir+"="+dir, fmt.Sprint(childStep, "=", step))...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	said = strings.Split(strings.TrimSpace(string(out)), "\n")
	if err == nil {
		return said, true
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("step %d: %v\n%s", step, err, stderr.Bytes())
	}
	return said, false
}

func TestKilledAtEachStepLosesNothingAcknowledged(t *testing.T) {
	stride := 1
	if testing.Short() {
		stride = 7
	}
	for step := 1; ; step += stride {
		dir := t.TempDir()
		said, ended := runChild(t, dir, step)
		checkLife(t, dir, said)
		if err := live(t.Context(), dir, blobstore.Config{Quota: lifeQuota}, func(string) {}); err != nil {
			t.Fatalf("step %d: life does not go on: %v", step, err)
		}
		if t.Failed() {
			t.Fatalf("killed at step %d, having said %q", step, said)
		}
		if ended {
			if step < 30 {
				t.Fatalf("only %d steps: the hooks are gone", step)
			}
			return
		}
	}
}

func TestKilledAmongCommitsLosesNothingAcknowledged(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for n := 3; n <= 12; n++ {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), exe)
		cmd.Env = append(os.Environ(), childDir+"="+dir, childStep+"=1000000")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var said []string
		lines := bufio.NewScanner(out)
		for len(said) < n && lines.Scan() {
			said = append(said, lines.Text())
		}
		if len(said) < n {
			t.Fatalf("the child ended after %q", said)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it still said is as binding
			said = append(said, lines.Text())
		}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
		checkLife(t, dir, said)
		if t.Failed() {
			t.Fatalf("killed after %q", said)
		}
	}
}

// TestFailureAtEachStepLosesNothingAcknowledged: the process goes on and closes
// its store, as after an I/O error, instead of being killed.
func TestFailureAtEachStepLosesNothingAcknowledged(t *testing.T) {
	broken := errors.New("this step fails")
	for step := 1; ; step++ {
		dir := t.TempDir()
		var mu sync.Mutex
		var said []string
		left, name := step, ""
		err := live(t.Context(), dir, blobstore.Config{Quota: lifeQuota}.WithStep(func(step string) error {
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 {
				name = step
				return broken
			}
			return nil
		}), func(word string) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, word)
		})
		if err == nil {
			if step < 30 {
				t.Fatalf("only %d steps: the hooks are gone", step)
			}
			return
		}
		wantErr(t, name, err, broken)
		checkLife(t, dir, said)
		if err := live(t.Context(), dir, blobstore.Config{Quota: lifeQuota}, func(string) {}); err != nil {
			t.Fatalf("life does not go on: %v", err)
		}
		if t.Failed() {
			t.Fatalf("step %d, %q, failed after %q", step, name, said)
		}
	}
}
