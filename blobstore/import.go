package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"granary/erasure"
)

// Import reads content to its end, encodes it and stores the whole block; if
// there is one it is completed and returned. progress may be nil.
//
// It reads at most one byte more than a block can hold and returns an error
// wrapping erasure.ErrLength for content that is empty or longer, ErrName for a
// name that no block may have, a *QuotaError as soon as the block with its
// parity would not fit, or ErrDiskFull. Nothing stays behind after an error.
func (s *Store) Import(ctx context.Context, name string, r io.Reader, progress erasure.Progress) (*Block, error) {
	if err := erasure.CheckName(name); err != nil {
		return nil, err
	}
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	st, err := s.stage(0)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", name, err)
	}
	defer st.discard()
	b, err := st.importFrom(ctx, name, r, progress)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", name, diskError(err))
	}
	return b, nil
}

func (st *staging) importFrom(ctx context.Context, name string, r io.Reader, progress erasure.Progress) (_ *Block, err error) {
	content, err := os.OpenFile(filepath.Join(st.dir, contentFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	length, err := st.spool(ctx, content, r)
	if err != nil {
		return nil, err
	}
	g, err := erasure.NewGeometry(length)
	if err != nil {
		return nil, err
	}
	parity, err := os.OpenFile(filepath.Join(st.dir, parityFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, parity.Close()) }()
	for _, f := range []*os.File{content, parity} {
		if err := f.Truncate(g.PaddedLength()); err != nil {
			return nil, err
		}
	}
	if err := st.s.at("import: encode"); err != nil {
		return nil, err
	}
	bundle, err := erasure.Commit(ctx, name, length, content, parity, progress)
	if err != nil {
		return nil, err
	}
	for _, f := range []*os.File{content, parity} {
		if err := f.Sync(); err != nil {
			return nil, err
		}
	}
	b, existed, err := st.install(ctx, bundle, true)
	if err != nil || !existed {
		return b, err
	}
	return b, b.fill(ctx, bundle, content, parity)
}

// spool copies r to content, reserving ahead what the block will cost by then.
func (st *staging) spool(ctx context.Context, content *os.File, r io.Reader) (length int64, err error) {
	buf := make([]byte, 1<<20)
	r = io.LimitReader(r, erasure.MaxLength+1)
	for {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		n, readErr := io.ReadFull(r, buf)
		if n > 0 {
			g, err := erasure.NewGeometry(length + int64(n))
			if err != nil {
				return 0, err
			}
			if err := st.growWithRoom(ctx, blockCost(maxInfoLength, g)+2*g.PaddedLength()); err != nil {
				return 0, err
			}
			if _, err := content.WriteAt(buf[:n], length); err != nil {
				return 0, err
			}
			length += int64(n)
		}
		switch {
		case errors.Is(readErr, io.EOF), errors.Is(readErr, io.ErrUnexpectedEOF):
			return length, nil
		case readErr != nil:
			return 0, fmt.Errorf("read content: %w", readErr)
		}
	}
}

// fill completes a block that was there before an Import made it anew.
func (b *Block) fill(ctx context.Context, bundle erasure.Bundle, content, parity io.ReaderAt) error {
	end, err := b.exclude(ctx)
	if err != nil {
		return err
	}
	defer end()
	if b.Whole() {
		return nil
	}
	return b.makeWhole(func() (erasure.Bundle, error) {
		buf := b.s.buffer()
		defer b.s.buffers.Put(buf)
		for p := range b.missing().All() {
			if err := context.Cause(ctx); err != nil {
				return bundle, err
			}
			data := (*buf)[:pieceBytes(b.g, p)]
			name, off := b.place(p)
			src := content
			if name == parityFile {
				src = parity
			}
			if _, err := src.ReadAt(data, off); err != nil {
				return bundle, err
			}
			if _, err := b.writeAt(p, data, 0); err != nil {
				return bundle, err
			}
		}
		return bundle, nil
	})
}
