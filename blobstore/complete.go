package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.etcd.io/bbolt"

	"granary/erasure"
)

// Complete makes the block whole from any k rows, in held pieces or loose: it recovers
// the content, encodes it anew, checks that the block is clean, writes the
// pieces that were missing, and learns the proof if it was unknown. Meanwhile
// reads go on, and whoever would change the block waits; bytes that were
// written but not committed are lost.
//
// It returns a *erasure.TooFewRowsError; an error wrapping erasure.ErrNotClean
// when what is held verifies but belongs to no clean block; a *PieceError when
// the disk changed a held piece, which is then no longer held: fetch it again;
// a *QuotaError, or ErrDiskFull. Unless it returns nil, or when it is cut
// short, no piece becomes held by it.
func (b *Block) Complete(ctx context.Context, progress erasure.Progress) error {
	ctx, leave, err := b.s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	end, err := b.exclude(ctx)
	if err != nil {
		return err
	}
	defer end()
	if b.Whole() {
		return nil
	}
	if have := b.RowsAtHand(); have < b.g.K() {
		return &erasure.TooFewRowsError{Have: have, Need: b.g.K()}
	}
	err = b.makeWhole(func() (erasure.Bundle, error) { return b.recover(ctx, progress) })
	if err == nil || ctx.Err() != nil {
		return err
	}
	if !errors.Is(err, erasure.ErrNotClean) && !isLost(err) {
		return fmt.Errorf("complete %s: %w", b.id, err)
	}
	// The publisher is blamed only when the disk is not at fault.
	if rot := b.recheck(ctx); rot != nil {
		return fmt.Errorf("complete %s: %w", b.id, rot)
	}
	return fmt.Errorf("complete %s: %w", b.id, err)
}

// confirm makes a block whole that holds all pieces and was never found clean.
// The caller has excluded others.
func (b *Block) confirm(ctx context.Context) error {
	b.mu.Lock()
	ready := !b.clean && b.held.Count() == b.g.Pieces()
	b.mu.Unlock()
	if !ready {
		return nil
	}
	return b.makeWhole(func() (erasure.Bundle, error) { return b.recover(ctx, nil) })
}

// missing returns the pieces that are not held.
func (b *Block) missing() erasure.PieceSet {
	b.mu.Lock()
	defer b.mu.Unlock()
	rest := erasure.AllPieces(b.g.Pieces())
	for p := range b.held.All() {
		rest.Remove(p)
	}
	return rest
}

// makeWhole reserves the missing pieces, has produce write them and vouch for
// the bundle, makes all of it durable and only then enters it in the index. If
// it fails before that it gives the space back. The caller has excluded others.
func (b *Block) makeWhole(produce func() (erasure.Bundle, error)) error {
	rest := b.missing()
	b.mu.Lock()
	err := b.touch(slices.Collect(rest.All())...)
	b.mu.Unlock()
	if err != nil {
		return err
	}
	if err := b.makeDurable(produce); err != nil {
		for p := range b.Quarantined().All() {
			rest.Remove(p) // as damaged as before
		}
		return errors.Join(err, b.discard(rest))
	}
	// From here on the pieces may be held on disk: they must stay as they are.
	err = b.s.index.update(func(tx *bbolt.Tx) error {
		return change(tx, b.id, b.g.Pieces(), func(st *state) { *st = wholeState(b.g.Pieces()) })
	})
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.state = wholeState(b.g.Pieces())
	clear(b.loose)
	b.mu.Unlock()
	return b.s.at("complete: acknowledge")
}

// makeDurable runs produce, fsyncs what it wrote and keeps the proof.
func (b *Block) makeDurable(produce func() (erasure.Bundle, error)) error {
	bundle, err := produce()
	if err != nil {
		return diskError(err)
	}
	for _, name := range []string{contentFile, parityFile} {
		if err := b.sync(name); err != nil {
			return err
		}
	}
	if err := b.learn(bundle); err != nil {
		return err
	}
	return b.s.at("complete: index")
}

// recover writes every missing piece from the held ones. What it returns was
// computed from the content, and equals the block's info.
func (b *Block) recover(ctx context.Context, progress erasure.Progress) (erasure.Bundle, error) {
	content, err := b.s.files.acquire(b.path(contentFile))
	if err != nil {
		return erasure.Bundle{}, err
	}
	defer b.s.files.release(content)
	parity, err := b.s.files.acquire(b.path(parityFile))
	if err != nil {
		return erasure.Bundle{}, err
	}
	defer b.s.files.release(parity)

	held := b.Held()
	have := b.HasRow
	lacks := false
	for p := range b.g.FilePieces() {
		lacks = lacks || !held.Has(p)
	}
	if lacks {
		err := erasure.Recover(ctx, b.g, erasure.Source{Have: have, Content: content, Parity: parity},
			notHeld(content, have, 0), half(progress, 0))
		if err != nil {
			return erasure.Bundle{}, err
		}
	}
	if err := b.s.at("complete: check"); err != nil {
		return erasure.Bundle{}, err
	}
	return erasure.CheckClean(ctx, b.info, content,
		notHeld(parity, have, b.g.K()), half(progress, 1))
}

// half reports one of the two halves of the work as such.
func half(progress erasure.Progress, n int64) erasure.Progress {
	if progress == nil {
		return nil
	}
	return func(done, total int64) { progress(n*total+done, 2*total) }
}

// notHeld writes the rows of a file that are not held and leaves held ones
// alone: they are verified already, and a crash half way must not harm them.
func notHeld(f io.WriterAt, have func(row int) bool, first int) *rowWriter {
	return &rowWriter{first: first, to: func(row int) io.WriterAt {
		if have(row) {
			return nil
		}
		return f
	}}
}

// recheck verifies every held piece and quarantines those that fail. It returns
// the first such error. The caller has excluded others.
func (b *Block) recheck(ctx context.Context) error {
	d, err := b.describe()
	if err != nil {
		return err
	}
	buf := b.s.buffer()
	defer b.s.buffers.Put(buf)
	var first error
	rotten := erasure.NewPieceSet(b.g.Pieces())
	for p := range b.Held().All() {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		data := (*buf)[:pieceBytes(b.g, p)]
		_, err := b.readAt(p, data, 0)
		if err == nil {
			err = b.check(d, p, data)
		}
		if err != nil && !isDamage(err) {
			return err
		}
		if errors.Is(err, errUnreadable) {
			err = &PieceError{Piece: p, Err: err}
		}
		if err != nil {
			rotten.Add(p)
			if first == nil {
				first = err
			}
		}
	}
	loose := b.recheckLoose(d)
	if first == nil {
		return loose
	}
	return errors.Join(first, loose, b.quarantine(rotten, first))
}
