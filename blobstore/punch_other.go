//go:build !linux

package blobstore

import (
	"errors"
	"os"
)

// punch cannot give space back here: dropped pieces keep theirs, and it stays
// counted, until the block is deleted.
func punch(*os.File, int64, int64) error { return errors.ErrUnsupported }
