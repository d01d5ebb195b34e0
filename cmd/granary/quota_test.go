package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"granary/blobstore"
	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
)

// TestQuotaDropsOnlyWhatWasFetched: the one asked for longest ago first, never
// what is pinned or published; what then does not fit is refused, with what
// takes the room.
func TestQuotaDropsOnlyWhatWasFetched(t *testing.T) {
	n := network(t, 1)
	var ids []string
	for range 3 {
		ids = append(ids, publish(t, n, content(t, 3<<20), node.WaitCertified).ID)
	}
	t.Setenv("GRANARY_QUOTA", "16MB") // two blocks of 3 MiB and as much parity
	t.Setenv("GRANARY_LISTEN", n.Address(0).String())
	home := filepath.Join(n.Dir, "reader")
	exits(t, exit.OK, home, "init", "--network", n.File)
	get := func(want int, id string) string {
		t.Helper()
		return exits(t, want, home, "get", id, "-o", filepath.Join(n.Dir, "out"), "--force")
	}
	wantHeld := func(want ...bool) {
		t.Helper()
		for i, id := range ids {
			_, err := os.Stat(filepath.Join(home, "blocks", id, "content"))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if (err == nil) != want[i] {
				t.Errorf("block %d is here: %v, want %v", i+1, err == nil, want[i])
			}
		}
	}
	get(exit.OK, ids[0])
	get(exit.OK, ids[1])
	wantHeld(true, true, false)
	get(exit.OK, ids[2])
	wantHeld(false, true, true)

	exits(t, exit.OK, home, "seed", ids[1], ids[2])
	if out := get(exit.Quota, ids[0]); !strings.Contains(out, "pinned 12 MiB") || !strings.Contains(out, "--stop") {
		t.Errorf("the refusal does not say what takes the room and how to free it:\n%s", out)
	}
	wantHeld(false, true, true) // nor is its description kept
	exits(t, exit.OK, home, "seed", ids[1], "--stop", "--dry-run")
	wantHeld(false, true, true)
	exits(t, exit.OK, home, "seed", ids[1], "--stop")
	wantHeld(false, false, true)
	get(exit.OK, ids[0])
	wantHeld(true, false, true)

	// A test that decodes needs room for all rows.
	exits(t, exit.OK, home, "seed", ids[0])
	if out := exits(t, exit.Quota, home, "verify", ids[1], "--escalate", "--timeout", "3m"); !strings.Contains(out, "fetch all of") {
		t.Errorf("the refusal does not say for what:\n%s", out)
	}
	wantHeld(true, false, true)
	exits(t, exit.OK, home, "seed", ids[2], "--stop")
	exits(t, exit.OK, home, "verify", ids[1], "--escalate", "--timeout", "3m")
	if left, err := filepath.Glob(filepath.Join(home, "blocks", ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}

	// Content whose length nobody knows before: it makes room as it comes.
	get(exit.OK, ids[2])
	wantHeld(true, false, true)
	cmd, err := devnet.Command("publish", "-", "--home", home, "--wait", "announced")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = struct{ io.Reader }{bytes.NewReader(content(t, 4<<20))}
	if out, _ := cmd.CombinedOutput(); strings.Contains(string(out), "quota") || cmd.ProcessState.ExitCode() == exit.Quota {
		t.Errorf("content from standard input did not make room:\n%s", out)
	}
	wantHeld(true, false, false)
}

// TestPassingCommandsKeepWhatTheHomeOwes: a command without a running node does
// not know which pieces the home's own node owes, so it gives none of them up.
func TestPassingCommandsKeepWhatTheHomeOwes(t *testing.T) {
	n := network(t, 1)
	owed := publish(t, n, content(t, 3<<20), node.WaitCertified).ID
	other := publish(t, n, content(t, 3<<20), node.WaitCertified).ID
	t.Setenv("GRANARY_QUOTA", "10MB") // one block of 3 MiB and as much parity
	t.Setenv("GRANARY_LISTEN", n.Address(0).String())
	home, out := filepath.Join(n.Dir, "keeper"), filepath.Join(n.Dir, "out")
	exits(t, exit.OK, home, "init", "--network", n.File)
	exits(t, exit.OK, home, "get", owed, "-o", out)
	block := func(f func(*blobstore.Block)) {
		t.Helper()
		id, err := erasure.ParseID(owed)
		if err != nil {
			t.Fatal(err)
		}
		s, err := blobstore.Open(t.Context(), home, blobstore.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		b, err := s.Block(id)
		if err != nil {
			t.Fatal(err)
		}
		f(b)
	}
	block(func(b *blobstore.Block) { // as a node does that takes up custody
		if err := b.SetNote(t.Context(), "index", []byte("1")); err != nil {
			t.Fatal(err)
		}
	})
	exits(t, exit.Quota, home, "get", other, "-o", out, "--force")
	exits(t, exit.OK, home, "seed", owed, "--stop")
	block(func(b *blobstore.Block) {
		if !b.Whole() {
			t.Errorf("%d of %d pieces are left", b.Held().Count(), b.Geometry().Pieces())
		}
	})
}
