package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/exit"
)

// TestFullDiskIsSaidAndHarmless: what does not fit is refused with a status of
// its own, nothing of it stays, and what was stored is good.
func TestFullDiskIsSaidAndHarmless(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	n, err := devnet.New(t.TempDir(), devnet.Plan{Validators: 1, Others: []string{"publisher"}})
	if err != nil {
		t.Fatal(err)
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=6m"); err != nil {
		t.Skipf("cannot mount tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	home := filepath.Join(disk, "home")
	file := filepath.Join(n.Dir, "content")
	write := func(size int) {
		t.Helper()
		if err := os.WriteFile(file, content(t, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	publish := func() string {
		t.Helper()
		// Nobody is there to announce it to: one that fits is stored all the same.
		return exits(t, exit.TryAgain, home, "publish", file, "--wait", "announced", "--timeout", "1s")
	}
	t.Setenv("GRANARY_LISTEN", n.Address(0).String())
	exits(t, exit.OK, home, "init", "--network", n.File)
	write(1 << 20)
	if out := publish(); strings.Contains(out, "disk is full") {
		t.Fatalf("1 MiB did not fit:\n%s", out)
	}
	write(4 << 20)
	if out := publish(); !strings.Contains(out, "disk is full") || !strings.Contains(out, "free some space") {
		t.Errorf("a full disk is not said:\n%s", out)
	}
	if folders, err := os.ReadDir(filepath.Join(home, "blocks")); err != nil || len(folders) != 1 {
		t.Errorf("%d folders of blocks are left, want that of the first (%v)", len(folders), err)
	}
	exits(t, exit.OK, home, "scrub")
}
