package blobstore

import "syscall"

// lostErrors are what the system says when the medium does not give the bytes
// any more: I/O error, structure or checksum of the file system wrong, no data.
var lostErrors = []error{syscall.EIO, syscall.EUCLEAN, syscall.EBADMSG, syscall.ENODATA}
