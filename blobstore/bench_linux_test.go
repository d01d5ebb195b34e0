package blobstore_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"granary/blobstore"
)

// BenchmarkScrub checks a block of 128 MiB, 256 MiB on the disk, from the disk.
// BenchmarkDiskRead reads the same files, as cat would: beside each other they
// say what checking costs.
func BenchmarkScrub(b *testing.B) {
	_, block := onDisk(b)
	b.SetBytes(2 * block.Geometry().PaddedLength())
	for b.Loop() {
		if _, err := block.Scrub(b.Context(), blobstore.ScrubConfig{Afresh: true}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDiskRead(b *testing.B) {
	folder, block := onDisk(b)
	b.SetBytes(2 * block.Geometry().PaddedLength())
	for b.Loop() {
		for _, name := range []string{"content", "parity"} {
			f, err := os.Open(filepath.Join(folder, name))
			if err != nil {
				b.Fatal(err)
			}
			if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
				b.Fatal(err)
			}
			if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20)); err != nil {
				b.Fatal(err)
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func onDisk(b *testing.B) (folder string, block *blobstore.Block) {
	dir := b.TempDir()
	s := open(b, dir, blobstore.Config{})
	block, err := s.Import(b.Context(), "block", bytes.NewReader(content(74, 128<<20)), nil)
	if err != nil {
		b.Fatal(err)
	}
	return filepath.Join(dir, "blocks", block.ID().String()), block
}

// BenchmarkDiskWrite writes two files of 64 MiB and fsyncs them, what a block of
// BenchmarkImport/64MiB leaves: dd conv=fsync, twice.
func BenchmarkDiskWrite(b *testing.B) {
	const size = 64 << 20
	dir, data := b.TempDir(), content(75, size)
	b.SetBytes(size)
	for b.Loop() {
		for _, name := range []string{"content", "parity"} {
			f, err := os.Create(filepath.Join(dir, name))
			if err != nil {
				b.Fatal(err)
			}
			for at := 0; at < size; at += 1 << 20 {
				if _, err := f.Write(data[at:][:1<<20]); err != nil {
					b.Fatal(err)
				}
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		for _, name := range []string{"content", "parity"} {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
	}
}
