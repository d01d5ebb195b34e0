package blobstore

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"granary/erasure"
)

// Scratch is a file that lasts until Close, or until the store is opened again.
// Its room is reserved.
type Scratch struct {
	*os.File
	st    *staging
	leave func()
}

// Scratch makes a file for rows of up to n bytes in all, in any order. It
// returns a *QuotaError or ErrDiskFull. The caller closes it, before the store.
func (s *Store) Scratch(ctx context.Context, n int64) (*Scratch, error) {
	_, leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	st, err := s.stage(scratchCost(n))
	if err != nil {
		leave()
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(st.dir, contentFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		st.discard()
		leave()
		return nil, diskError(err)
	}
	return &Scratch{File: f, st: st, leave: leave}, nil
}

// scratchCost is what n bytes take in a sparse file in a folder of its own.
func scratchCost(n int64) int64 {
	return roundUp(n) + roundUp(n/erasure.RowSize*bytesPerExtent) + 2*diskUnit + direntBytes
}

// Close removes the file. It may be called twice.
func (f *Scratch) Close() error {
	if f.leave == nil {
		return nil
	}
	err := f.File.Close()
	f.st.discard()
	f.leave()
	f.leave = nil
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
