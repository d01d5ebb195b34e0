package blobstore_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"granary/blobstore"
	"granary/erasure"
)

// cutPower makes the ext4 or XFS that holds dir lose, from now on, all that is not on
// its disk yet, journal included: what a power failure does.
func cutPower(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	const shutdown = 0x8004587d // EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN = _IOR('X', 125, __u32)
	flags := uint32(2)          // EXT4_GOING_FLAGS_NOLOGFLUSH, XFS_FSOP_GOING_FLAGS_NOLOGFLUSH
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), shutdown, uintptr(unsafe.Pointer(&flags))); e != 0 {
		return e
	}
	return nil
}

func run(t *testing.T, name string, args ...string) error {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}

// disk is a file system in a file, mounted.
type disk struct{ image, dir string }

// newDisk makes an ext4.
func newDisk(t *testing.T, bytes int64) disk {
	t.Helper()
	return newDiskOf(t, bytes, "mkfs.ext4", "-q", "-F")
}

// eachFileSystem runs a test on an ext4, and on an XFS where that can be made.
func eachFileSystem(t *testing.T, test func(*testing.T, disk)) {
	t.Run("ext4", func(t *testing.T) { test(t, newDisk(t, 32<<20)) })
	t.Run("xfs", func(t *testing.T) { test(t, newDiskOf(t, 320<<20, "mkfs.xfs", "-q", "-f")) })
}

// newDiskOf makes a file system of so many bytes by a command that takes the
// image as its last argument.
func newDiskOf(t *testing.T, bytes int64, mkfs ...string) disk {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	d := disk{image: filepath.Join(t.TempDir(), "disk"), dir: t.TempDir()}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, bytes); err != nil {
		t.Fatal(err)
	}
	if err := run(t, mkfs[0], append(mkfs[1:], d.image)...); err != nil {
		t.Skipf("no file system can be made: %v", err)
	}
	if err := run(t, "mount", "-o", "loop,noatime", d.image, d.dir); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(d.dir, 0) })
	return d
}

func (d disk) remount(t *testing.T) {
	t.Helper()
	if err := syscall.Unmount(d.dir, 0); err != nil {
		t.Fatal(err)
	}
	if err := run(t, "mount", "-o", "loop,noatime", d.image, d.dir); err != nil {
		t.Fatal(err)
	}
}

func TestPowerCutLosesNothingAcknowledged(t *testing.T) {
	step, stride := 1, 6 // between them each third step
	if testing.Short() {
		stride = 20
	} else if os.Getenv("GRANARY_TEST_ROUNDS") != "" {
		stride = 1
	}
	eachFileSystem(t, func(t *testing.T, d disk) {
		powerCuts(t, d, step, stride)
		step += stride / 2
	})
}

// powerCuts cuts the power at every so manyth step of a life.
func powerCuts(t *testing.T, d disk, step, stride int) {
	for ; ; step += stride {
		dir := filepath.Join(d.dir, "store")
		said, ended := runChild(t, dir, step, childCut+"=1")
		if ended {
			return
		}
		d.remount(t)
		checkLife(t, dir, said)
		if t.Failed() {
			t.Fatalf("power cut at step %d, having said %q", step, said)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullExt4IsHarmless(t *testing.T) {
	fillDisk(t, filepath.Join(newDisk(t, 4<<20).dir, "store"))
}

func TestFullDiskIsRecognisedAndHarmless(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("cannot mount tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(mount, 0) })
	fillDisk(t, filepath.Join(mount, "store"))
}

// TestIndexThatCannotBeWrittenStopsTheStore: nobody knows then which pieces it
// calls held on disk.
func TestIndexThatCannotBeWrittenStopsTheStore(t *testing.T) {
	d := newDisk(t, 32<<20)
	dir := filepath.Join(d.dir, "store")
	e := encode(t, 80, 3*erasure.RowSize)
	s := open(t, dir, blobstore.Config{})
	b := put(t, s, e.Bundle)
	hold(t, b, e, 1)
	if err := cutPower(dir); err != nil {
		t.Skipf("cannot cut the power: %v", err)
	}
	wantErr(t, "note", b.SetNote(t.Context(), "pin", []byte("yes")), blobstore.ErrFailed)
	_, err := b.WritePieceAt(0, e.Piece(0), 0)
	wantErr(t, "write", err, blobstore.ErrFailed)
	if !b.Has(1) || b.Has(0) {
		t.Error("what was held changed")
	}
	_ = s.Close() // its fsync may fail, too
	d.remount(t)
	s = open(t, dir, blobstore.Config{})
	if b, err = s.Block(e.ID()); err != nil || !b.Has(1) {
		t.Fatalf("after the power came back: %v", err)
	}
	hold(t, b, e, 0)
	if err := s.Close(); err != nil { // before the disk goes
		t.Fatal(err)
	}
}

// TestOpenFilesAreBounded reads 200 blocks, which have 400 files.
func TestOpenFilesAreBounded(t *testing.T) {
	openFiles := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(names)
	}
	s := open(t, t.TempDir(), blobstore.Config{})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if _, err := s.Import(t.Context(), "block", strings.NewReader(strconv.Itoa(i)), nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	before := openFiles()
	for range 4 {
		wg.Go(func() {
			for _, b := range s.Blocks() {
				for p := range 2 {
					if _, err := b.ReadPieceAt(p, make([]byte, 10), 0); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if more := openFiles() - before; more > 256 {
		t.Errorf("%d files more are open, want at most 256", more)
	}
}
