package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"go.etcd.io/bbolt"

	"granary/erasure"
)

// ReadPieceAt reads from a held piece, or from one that was written to and is
// not committed yet: a torrent engine reads those back to hash them. Other
// pieces are ErrNotHeld. It reads like io.ReaderAt within the piece.
//
// A held piece whose bytes the disk has lost is quarantined, and the error is a
// *PieceError. One that cannot be read now, because a disk or server is away, is
// not, and the error is the system's.
func (b *Block) ReadPieceAt(piece int, p []byte, off int64) (int, error) {
	return b.serve(piece, p, off, false)
}

// serve reads for somebody outside, who must not be served unreadable pieces
// again and again.
func (b *Block) serve(piece int, p []byte, off int64, heldOnly bool) (int, error) {
	n, err := b.read(piece, p, off, heldOnly)
	if errors.Is(err, errUnreadable) {
		err = b.rotten(piece, err)
	}
	return n, err
}

func (b *Block) read(piece int, p []byte, off int64, heldOnly bool) (int, error) {
	if err := b.checkPiece(piece); err != nil {
		return 0, err
	}
	rest := pieceBytes(b.g, piece) - off
	if off < 0 || rest < 0 {
		return 0, fmt.Errorf("%w: offset %d in piece %d of %s", ErrPiece, off, piece, b.id)
	}
	b.gate.RLock()
	defer b.gate.RUnlock()
	b.mu.Lock()
	gone, ok := b.gone, b.held.Has(piece) || !heldOnly && b.busy == nil && b.touched.Has(piece)
	b.mu.Unlock()
	if gone {
		return 0, b.errGone()
	}
	if !ok {
		return 0, fmt.Errorf("%w: piece %d of %s", ErrNotHeld, piece, b.id)
	}
	if int64(len(p)) <= rest {
		return b.readAt(piece, p, off)
	}
	n, err := b.readAt(piece, p[:rest], off)
	if err == nil {
		err = io.EOF
	}
	return n, err
}

// readAt reads within a piece, whatever its state.
func (b *Block) readAt(piece int, p []byte, off int64) (int, error) {
	name, start := b.place(piece)
	f, err := b.s.files.acquire(b.path(name))
	if err != nil {
		return 0, err
	}
	defer b.s.files.release(f)
	var n int
	if err = b.s.at("read"); err == nil {
		n, err = f.ReadAt(p, start+off)
	}
	if n == len(p) {
		return n, nil
	}
	switch {
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("%w: %w: %s of %s was truncated", errUnreadable, ErrDamaged, name, b.id)
	case isLost(err):
		err = fmt.Errorf("%w: %w", errUnreadable, err)
	default:
		err = fmt.Errorf("read piece %d of %s: %w", piece, b.id, err)
	}
	return n, err
}

// WritePieceAt writes into a piece that is not held; it is not durable, and not
// held, until CommitPiece. The first write reserves the whole piece's space.
//
// It returns ErrHeld, without writing, for a held piece; a *QuotaError,
// ErrDiskFull, or ErrFailed. While the piece is being committed or the block
// completed it waits, mostly to find the piece held.
func (b *Block) WritePieceAt(piece int, p []byte, off int64) (int, error) {
	if err := b.checkPiece(piece); err != nil {
		return 0, err
	}
	if off < 0 || off+int64(len(p)) > pieceBytes(b.g, piece) {
		return 0, fmt.Errorf("%w: %d bytes at %d in piece %d of %s", ErrPiece, len(p), off, piece, b.id)
	}
	for {
		n, pending, err := b.write(piece, p, off)
		if pending == nil {
			return n, err
		}
		<-pending
	}
}

// write writes, unless the piece's fate is pending: then it writes nothing and
// returns what will be closed when it is decided.
func (b *Block) write(piece int, p []byte, off int64) (n int, pending <-chan struct{}, err error) {
	b.gate.RLock()
	defer b.gate.RUnlock()
	if pending, err := b.admit(piece); pending != nil || err != nil {
		return 0, pending, err
	}
	n, err = b.writeAround(piece, p, off)
	if err != nil {
		err = fmt.Errorf("write piece %d of %s: %w", piece, b.id, diskError(err))
	}
	return n, nil, err
}

// admit decides whether a write to piece may go on, and reserves its space.
func (b *Block) admit(piece int) (pending <-chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.gone:
		return nil, b.errGone()
	case b.s.index.failed.Load(): // on disk the piece may be held
		return nil, ErrFailed
	case b.held.Has(piece):
		return nil, fmt.Errorf("%w: piece %d of %s", ErrHeld, piece, b.id)
	case b.busy != nil:
		return b.busy, nil
	case b.sealed[piece] != nil:
		return b.sealed[piece].done, nil
	}
	return nil, b.touch(piece)
}

// touch reserves the space of pieces that have none yet: all or nothing. The
// caller holds mu.
func (b *Block) touch(pieces ...int) error {
	var need int64
	for _, p := range pieces {
		if !b.touched.Has(p) {
			need += pieceBytes(b.g, p)
		}
	}
	if need == 0 {
		return nil
	}
	if err := b.s.quota.reserve(need); err != nil {
		return err
	}
	for _, p := range pieces {
		b.touched.Add(p)
	}
	b.charged += need
	return nil
}

func (b *Block) writeAt(piece int, p []byte, off int64) (int, error) {
	name, start := b.place(piece)
	f, err := b.s.files.acquire(b.path(name))
	if err != nil {
		return 0, err
	}
	defer b.s.files.release(f)
	if err := b.s.at("write"); err != nil {
		return 0, err
	}
	return f.WriteAt(p, start+off)
}

// DropPieces stops holding the pieces of drop and gives their space back;
// pieces that are not held, but were written to, lose what was written. While
// the block is being completed it waits.
func (b *Block) DropPieces(ctx context.Context, drop erasure.PieceSet) error {
	ctx, leave, err := b.s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	gone, err := b.lockPieces(ctx, drop)
	if err != nil {
		return err
	}
	defer b.gate.Unlock()
	if gone.Count() == 0 {
		return nil
	}
	if err := b.change(func(st *state) { st.drop(gone) }); err != nil {
		return fmt.Errorf("drop pieces of %s: %w", b.id, err)
	}
	if err := b.s.at("drop: punch"); err != nil {
		return err
	}
	if err := b.discard(gone); err != nil {
		return fmt.Errorf("drop pieces of %s: %w", b.id, err)
	}
	return nil
}

// lockPieces takes the gate, so that no read that saw a piece held sees the
// hole, once none of drop is being committed, and returns those of drop that
// have bytes. Writers wait meanwhile.
func (b *Block) lockPieces(ctx context.Context, drop erasure.PieceSet) (erasure.PieceSet, error) {
	for {
		if err := b.lock(ctx); err != nil {
			return erasure.PieceSet{}, err
		}
		gone := erasure.NewPieceSet(b.g.Pieces())
		var pending *commit
		b.mu.Lock()
		for p := range drop.All() {
			if b.touched.Has(p) {
				gone.Add(p)
			}
			if b.sealed[p] != nil {
				pending = b.sealed[p]
			}
		}
		b.mu.Unlock()
		if pending == nil {
			return gone, nil
		}
		b.gate.Unlock()
		if err := wait(ctx, pending.done); err != nil {
			return gone, err
		}
	}
}

// change applies f to what the index says of the block, then to what we say.
func (b *Block) change(f func(*state)) error {
	err := b.s.index.update(func(tx *bbolt.Tx) error { return change(tx, b.id, b.g.Pieces(), f) })
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.state)
	return nil
}

// quarantine stops holding pieces that were found damaged. The caller knows
// that they are held.
func (b *Block) quarantine(pieces erasure.PieceSet, cause error) error {
	b.s.log.Error("stored pieces are damaged: quarantined", "block", b.id, "pieces", pieces.Count(), "err", cause)
	return b.change(func(st *state) { st.quarantine(pieces) })
}

// discard gives the space of touched pieces, neither held nor quarantined, back. Where the
// system cannot, they stay touched: on disk, and counted.
func (b *Block) discard(pieces erasure.PieceSet) error {
	b.mu.Lock()
	b.forgetLoose(pieces)
	b.mu.Unlock()
	if err := b.punch(pieces); errors.Is(err, errors.ErrUnsupported) {
		return nil
	} else if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var n int64
	for p := range pieces.All() {
		if b.touched.Has(p) {
			b.touched.Remove(p)
			n += pieceBytes(b.g, p)
		}
	}
	b.charged -= n
	b.s.quota.release(n)
	return nil
}

// punch makes holes of pieces, one call for each run within a file.
func (b *Block) punch(pieces erasure.PieceSet) error {
	for p := 0; p < b.g.Pieces(); p++ {
		if !pieces.Has(p) {
			continue
		}
		name, off := b.place(p)
		n := pieceBytes(b.g, p)
		for p+1 < b.g.Pieces() && p+1 != b.g.FilePieces() && pieces.Has(p+1) {
			p++
			n += pieceBytes(b.g, p)
		}
		f, err := b.s.files.acquire(b.path(name))
		if err != nil {
			return err
		}
		err = punch(f.File, off, n)
		b.s.files.release(f)
		if err != nil {
			return err
		}
	}
	return nil
}
