package swarm

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/anacrolix/torrent/metainfo"
	"github.com/anacrolix/torrent/storage"

	"granary/erasure"
)

// Block is what the swarm needs of a stored block; *blobstore.Block satisfies
// it. Its methods are called from many goroutines at once, Has with the
// engine's lock held: it must be quick and must not call the swarm.
type Block interface {
	// Bundle describes the block; its Proof may be nil. The swarm does not
	// modify it.
	Bundle() erasure.Bundle
	// Has reports whether piece is held: committed, and not dropped since.
	Has(piece int) bool
	// ReadPieceAt reads from a held piece, or from what was written of another.
	ReadPieceAt(piece int, p []byte, off int64) (int, error)
	// WritePieceAt writes a part of a piece that is not held.
	WritePieceAt(piece int, p []byte, off int64) (int, error)
	// CommitPiece verifies what was written of piece and makes it held and
	// durable. Its error wraps *erasure.RowError when the bytes are wrong; any
	// other error is the store's own trouble and ends the fetches.
	CommitPiece(ctx context.Context, piece int) error
}

// store lets the engine read and write a Torrent's block.
type store struct{ t *Torrent }

func (s store) OpenTorrent(context.Context, *metainfo.Info, metainfo.Hash) (storage.TorrentImpl, error) {
	return storage.TorrentImpl{Piece: func(p metainfo.Piece) storage.PieceImpl {
		if s.t.swarm.cfg.Corrupt {
			return corruptPiece{piece{s.t, p.Index()}}
		}
		return piece{s.t, p.Index()}
	}}, nil
}

// enter allows the block's bytes to be used until leave; ErrClosed after
// release.
func (t *Torrent) enter() error {
	t.using.RLock()
	if t.released {
		t.using.RUnlock()
		return ErrClosed
	}
	return nil
}

func (t *Torrent) leave() { t.using.RUnlock() }

// release waits until nobody uses the block's bytes, and lets nobody use them
// again: the engine's connections outlive the torrent by a moment.
func (t *Torrent) release() {
	t.using.Lock()
	defer t.using.Unlock()
	t.released = true
}

type piece struct {
	t     *Torrent
	index int
}

func (p piece) ReadAt(b []byte, off int64) (int, error) {
	if err := p.t.enter(); err != nil {
		return 0, err
	}
	defer p.t.leave()
	return p.t.block.ReadPieceAt(p.index, b, off)
}

// NewReader spares the engine its own reader, which takes the file tree apart
// for every row it serves.
func (p piece) NewReader() (storage.PieceReader, error) { return pieceReader{p}, nil }

type pieceReader struct{ piece }

func (pieceReader) Close() error { return nil }

// WriteTo is how the engine reads a piece to hash it.
func (p piece) WriteTo(w io.Writer) (int64, error) {
	buf, _ := hashBuffers.Get().(*[]byte)
	if buf == nil {
		b := make([]byte, 4*erasure.RowSize)
		buf = &b
	}
	defer hashBuffers.Put(buf)
	var done int64
	for size := p.t.pieceBytes(p.index); done < size; {
		b := (*buf)[:min(int64(len(*buf)), size-done)]
		if n, err := p.ReadAt(b, done); n < len(b) {
			// An error keeps the engine from banning those who sent the piece.
			return done, cmp.Or(err, io.ErrUnexpectedEOF)
		}
		n, err := w.Write(b)
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// hashBuffers holds *[]byte of four rows: a cache, not state.
var hashBuffers sync.Pool

// WriteAt reports an error to the fetches as well: the engine would only ask
// for the same row again, and again.
func (p piece) WriteAt(b []byte, off int64) (int, error) {
	if err := p.t.enter(); err != nil {
		return 0, err
	}
	defer p.t.leave()
	n, err := p.t.block.WritePieceAt(p.index, b, off)
	if err != nil && p.t.block.Has(p.index) {
		return len(b), nil // it came another way meanwhile: by recovery, say
	}
	if err != nil {
		p.t.fail(err)
	}
	return n, err
}

// Completion always knows: the index is the truth, and nothing is re-hashed.
func (p piece) Completion() storage.Completion {
	return storage.Completion{Ok: true, Complete: p.t.block.Has(p.index) || p.t.isCommitting(p.index)}
}

// MarkComplete is called when the piece has hashed to its layer. The engine
// counts it as complete whatever is returned, and has as many goroutines for
// hashing and marking as there are processors; so the commit goes on beside
// it, sharing fsyncs with others, and is taken back if it fails.
//
// The engine announces the piece to connected peers meanwhile. That promise
// lasts as long as the connections, which end with the process: no crash can
// break it. Fetches and Status count held pieces only.
func (p piece) MarkComplete() error {
	p.t.commit(p.index)
	return nil
}

// MarkNotComplete is called when a piece did not hash to its layer.
func (p piece) MarkNotComplete() error {
	p.t.hashFailed(p.index)
	return nil
}

// commit stores piece in the background. It blocks while too many others are
// being committed.
func (t *Torrent) commit(piece int) {
	done, ok := t.swarm.begin()
	if !ok {
		return
	}
	t.mu.Lock()
	t.committing.Add(piece)
	t.hashed(piece, true)
	t.mu.Unlock()
	t.swarm.commits <- struct{}{}
	go func() {
		defer done()
		err := t.commitNow(piece)
		<-t.swarm.commits
		t.committed(piece, err)
	}()
}

func (t *Torrent) commitNow(piece int) error {
	if err := t.enter(); err != nil {
		return err
	}
	defer t.leave()
	// Not cancelled by Close: what was downloaded is worth a few fsyncs.
	err := t.block.CommitPiece(context.WithoutCancel(t.swarm.ctx), piece)
	if err != nil && t.block.Has(piece) {
		return nil // it came another way meanwhile
	}
	return err
}

func (t *Torrent) committed(piece int, err error) {
	var wrong *erasure.RowError
	isWrong := errors.As(err, &wrong)
	t.mu.Lock()
	t.committing.Remove(piece)
	t.begun.Remove(piece)
	if isWrong {
		t.refused.Add(piece)
		t.refusal = err
		t.spoilt += t.pieceBytes(piece)
	}
	if err == nil {
		for j := range t.jobs {
			j.arrived()
		}
	}
	ended := t.ended
	t.mu.Unlock()
	if err == nil {
		return
	}
	t.swarm.log.Debug("piece not committed", "block", t.id.Short(), "piece", piece, "err", err)
	if !isWrong {
		t.fail(err)
	}
	if !ended {
		t.apply()
		t.takeBack(piece)
	}
}

// takeBack makes the engine see that piece is not complete after all. It has to
// wait until the engine is done marking the piece, which ends with its setting
// the piece complete.
func (t *Torrent) takeBack(piece int) {
	changes := t.handle.SubscribePieceStateChanges()
	defer changes.Close()
	for t.handle.PieceState(piece).Marking {
		select {
		case <-changes.Values:
		case <-t.handle.Closed():
			return
		}
	}
	t.handle.Piece(piece).UpdateCompletion()
}

func (t *Torrent) isCommitting(piece int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.committing.Has(piece)
}

// hashFailed forgets that some of piece had arrived: all of it will be asked
// for again.
func (t *Torrent) hashFailed(piece int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hashed(piece, false)
	if t.begun.Has(piece) {
		t.begun.Remove(piece)
		t.spoilt += t.pieceBytes(piece)
	}
}

// corruptPiece is Config.Corrupt: it claims to be complete and is wrong in
// every byte.
type corruptPiece struct{ piece }

func (p corruptPiece) Completion() storage.Completion {
	return storage.Completion{Ok: true, Complete: true}
}

func (p corruptPiece) ReadAt(b []byte, off int64) (int, error) {
	for i := range b {
		b[i] = 0xa5 ^ byte(off+int64(i)) ^ byte(p.index)
	}
	if !p.t.block.Has(p.index) {
		return len(b), nil
	}
	n, err := p.piece.ReadAt(b, off)
	for i := range b[:n] {
		b[i] = ^b[i]
	}
	return n, err
}

func (p corruptPiece) NewReader() (storage.PieceReader, error) { return corruptReader{p}, nil }

type corruptReader struct{ corruptPiece }

func (corruptReader) Close() error { return nil }
