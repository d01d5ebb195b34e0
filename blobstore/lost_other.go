//go:build !linux && !windows

package blobstore

import "syscall"

// lostErrors are what the system says when the medium does not give the bytes
// any more.
var lostErrors = []error{syscall.EIO}
