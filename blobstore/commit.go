package blobstore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.etcd.io/bbolt"

	"granary/erasure"
)

// A commit is a piece on its way from written to held. Its bytes cannot change
// meanwhile: the piece is sealed.
type commit struct {
	b     *Block
	piece int
	done  chan struct{} // closed when err is final
	err   error
}

// CommitPiece makes a written piece held: it reads the piece back, verifies it
// against the piece layers, and row by row against the proof when that is
// known, fsyncs it and enters it in the index. Calls at the same time share
// the fsyncs and the index's transaction. A held piece is no error.
//
// It returns a *PieceError when the bytes do not verify (they may be written
// again); it wraps an *erasure.RowError when they hash right and yet are not
// the block's, which is the publisher's fault. Other errors are a *QuotaError
// when the piece was never written to and has no space, ErrDiskFull, ErrDamaged
// and ErrFailed. While the block is being completed it waits. When ctx ends
// first, the piece may yet become held.
func (b *Block) CommitPiece(ctx context.Context, piece int) error {
	if err := b.checkPiece(piece); err != nil {
		return err
	}
	ctx, leave, err := b.s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for {
		c, first, err := b.seal(ctx, piece)
		if c == nil {
			return err
		}
		if first {
			if err := b.verify(piece); err != nil {
				c.finish(err)
				return err
			}
			select {
			case b.s.commits <- c:
			case <-ctx.Done():
				c.finish(context.Cause(ctx))
			}
		}
		if err := wait(ctx, c.done); err != nil {
			return err
		}
		// Another caller gave up before its commit began: it is ours now.
		if !first && isContextError(c.err) {
			continue
		}
		return c.err
	}
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// seal begins a commit when no write to piece is under way, or joins the one
// that has begun. Both results nil: the piece is held.
func (b *Block) seal(ctx context.Context, piece int) (c *commit, first bool, err error) {
	if err := b.lock(ctx); err != nil {
		return nil, false, err
	}
	defer b.gate.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held.Has(piece) {
		return nil, false, nil
	}
	if c := b.sealed[piece]; c != nil {
		return c, false, nil
	}
	if err := b.touch(piece); err != nil {
		return nil, false, err
	}
	c = &commit{b: b, piece: piece, done: make(chan struct{})}
	b.sealed[piece] = c
	return c, true, nil
}

// finish ends a commit: the piece is held if err is nil.
func (c *commit) finish(err error) {
	b := c.b
	b.mu.Lock()
	if err == nil {
		b.hold(c.piece)
	}
	delete(b.sealed, c.piece)
	b.mu.Unlock()
	c.err = err
	close(c.done)
}

// verify reads a piece back and checks it. After an fsync that failed the
// system may have dropped the bytes and yet call them clean, so they are
// written anew from what was just verified; the next fsync then means it.
func (b *Block) verify(piece int) error {
	d, err := b.describe()
	if err != nil {
		return err
	}
	buf := b.s.buffer()
	defer b.s.buffers.Put(buf)
	data := (*buf)[:pieceBytes(b.g, piece)]
	if _, err := b.readAt(piece, data, 0); err != nil {
		return err
	}
	if err := b.check(d, piece, data); err != nil {
		return err
	}
	b.mu.Lock()
	rewrite := b.rewrite
	b.mu.Unlock()
	if rewrite {
		if _, err := b.writeAt(piece, data, 0); err != nil {
			return diskError(err)
		}
	}
	return nil
}

// check verifies a whole piece as far as the description goes.
func (b *Block) check(d *description, piece int, data []byte) error {
	var err error
	if d.verifier != nil {
		err = d.verifier.Piece(d.layers, piece, data)
	} else {
		var hash erasure.Root
		hash, err = erasure.PieceHash(b.g, piece, data)
		if err == nil && hash != d.layers.Piece(piece) {
			err = &erasure.PieceError{Piece: piece, Reason: "hash"}
		}
	}
	if err != nil {
		return &PieceError{Piece: piece, Err: err}
	}
	return nil
}

// buffer returns room for the largest piece, to be put back.
func (s *Store) buffer() *[]byte {
	if buf, ok := s.buffers.Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, maxPieceLength)
	return &buf
}

// maxPieceLength is that of the largest block: 16,384 rows in 512 pieces.
const maxPieceLength = erasure.MaxLength / erasure.MaxFilePieces

// writeCommits makes verified pieces held, in batches: while one is on its way
// to the disk, the next gathers.
func (s *Store) writeCommits() {
	for c := range s.commits {
		batch := []*commit{c}
		for more := true; more; {
			select {
			case c, ok := <-s.commits:
				if more = ok; ok {
					batch = append(batch, c)
				}
			default:
				more = false
			}
		}
		s.writeBatch(batch)
	}
}

// writeBatch fsyncs each file of the batch once and enters all its pieces in
// the index in one transaction.
func (s *Store) writeBatch(batch []*commit) {
	failed := s.syncBatch(batch)
	var durable []*commit
	for _, c := range batch {
		if err := failed[c.file()]; err != nil {
			c.finish(fmt.Errorf("commit piece %d of %s: %w", c.piece, c.b.id, err))
			continue
		}
		durable = append(durable, c)
	}
	if len(durable) == 0 {
		return
	}
	err := s.at("commit: index")
	if err == nil {
		err = s.index.update(func(tx *bbolt.Tx) error {
			for _, c := range durable {
				if err := change(tx, c.b.id, c.b.g.Pieces(), func(st *state) { st.hold(c.piece) }); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err == nil {
		err = s.at("commit: acknowledge")
	}
	for _, c := range durable {
		if err != nil {
			c.finish(fmt.Errorf("commit piece %d of %s: %w", c.piece, c.b.id, err))
		} else {
			c.finish(nil)
		}
	}
}

// storedFile names one of the two sparse files of a block.
type storedFile struct {
	b    *Block
	name string
}

func (c *commit) file() storedFile {
	name, _ := c.b.place(c.piece)
	return storedFile{c.b, name}
}

// syncBatch fsyncs the batch's files side by side, so that a journal can commit
// them together, and returns the errors of those that failed.
func (s *Store) syncBatch(batch []*commit) map[storedFile]error {
	const atOnce = 8
	var (
		slots  = make(chan struct{}, atOnce)
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed = make(map[storedFile]error) // guarded by mu
		seen   = make(map[storedFile]bool)
	)
	for _, c := range batch {
		f := c.file()
		if seen[f] {
			continue
		}
		seen[f] = true
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f.b.sync(f.name); err != nil {
				mu.Lock()
				failed[f] = err
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed
}

// sync makes one of the block's files durable.
func (b *Block) sync(name string) error {
	f, err := b.s.files.acquire(b.path(name))
	if err != nil {
		return err
	}
	defer b.s.files.release(f)
	if err = b.s.at("sync " + name); err == nil {
		err = f.Sync()
	}
	if err != nil {
		b.mu.Lock()
		b.rewrite = true
		b.mu.Unlock()
	}
	return diskError(err)
}
