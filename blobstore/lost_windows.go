package blobstore

import "syscall"

// lostErrors are what the system says when the medium does not give the bytes
// any more: ERROR_CRC, ERROR_SECTOR_NOT_FOUND, ERROR_READ_FAULT, ERROR_IO_DEVICE,
// ERROR_FILE_CORRUPT and ERROR_DISK_CORRUPT.
var lostErrors = []error{
	syscall.Errno(23), syscall.Errno(27), syscall.Errno(30),
	syscall.Errno(1117), syscall.Errno(1392), syscall.Errno(1393),
}
