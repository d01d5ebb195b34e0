package blobstore

import (
	"os"
	"syscall"
)

// punch gives the space of n bytes at off back; they read as zeros afterwards
// and the file keeps its length.
func punch(f *os.File, off, n int64) error {
	const keepSize, punchHole = 1, 2 // FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
	for {
		err := syscall.Fallocate(int(f.Fd()), keepSize|punchHole, off, n)
		if err != syscall.EINTR {
			return os.NewSyscallError("fallocate", err)
		}
	}
}
