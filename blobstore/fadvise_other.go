//go:build !linux

package blobstore

import "os"

// uncache cannot be asked for here: a scrub may see what is in memory.
func uncache(*os.File, int64, int64) {}
