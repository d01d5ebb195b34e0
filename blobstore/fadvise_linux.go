package blobstore

import (
	"os"

	"golang.org/x/sys/unix"
)

// uncache asks the system to forget what it has in memory of n bytes at off, so
// that the next read comes from the disk and not from what was once read of it.
// It is only advice: bytes not yet written out stay.
func uncache(f *os.File, off, n int64) {
	_ = unix.Fadvise(int(f.Fd()), off, n, unix.FADV_DONTNEED)
}
