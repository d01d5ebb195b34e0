package blobstore

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"granary/erasure"
)

// A Block is a stored block: its description and those of its pieces that are
// held. Its methods may be called from any number of goroutines. After Delete
// or Store.Close they return errors.
type Block struct {
	s    *Store
	id   erasure.ID
	info erasure.Info
	g    erasure.Geometry
	dir  string

	// gate is held shared around every read and write of piece bytes, and
	// exclusively by whoever must know that none is under way: to seal a piece
	// for verification, to drop pieces, to complete, to delete. Taken before mu.
	gate sync.RWMutex

	placing sync.RWMutex // held shared around writes into pieces, alone while a loose row is placed; after gate, before mu

	describing sync.Mutex // one reads or changes layers and proof at a time

	mu      sync.Mutex
	state                    // guarded by mu: what the index says, or is about to
	touched erasure.PieceSet // guarded by mu: pieces whose space is reserved; contains held and bad
	sealed  map[int]*commit  // guarded by mu: pieces being committed
	loose   map[int]struct{} // guarded by mu: verified rows on disk, see AddRow; some may be of held pieces
	charged int64            // guarded by mu: bytes counted against the quota
	pass    pass             // guarded by mu: how far scrubs are
	busy    chan struct{}    // guarded by mu, set with gate: one operation has the pieces to itself until it is closed; nil: none
	gone    bool             // guarded by mu: deleted
	rewrite bool             // guarded by mu: an fsync did not succeed, see verify
}

func newBlock(s *Store, info erasure.Info) *Block {
	g := info.Geometry()
	id := info.ID()
	return &Block{
		s: s, id: id, info: info, g: g, dir: s.folder(id),
		state:   newState(g.Pieces()),
		touched: erasure.NewPieceSet(g.Pieces()),
		sealed:  make(map[int]*commit),
		loose:   make(map[int]struct{}),
	}
}

// ID is the block's ID.
func (b *Block) ID() erasure.ID { return b.id }

// Geometry says how the block is cut into rows and pieces.
func (b *Block) Geometry() erasure.Geometry { return b.g }

// Bundle returns the block's description; Proof is nil while it is unknown.
// Callers must not modify it. If layers can no longer be read from disk, which
// is logged, the bundle holds only Info and does not pass its Check.
func (b *Block) Bundle() erasure.Bundle {
	d, err := b.describe()
	if err != nil {
		b.s.log.Error("stored description cannot be used", "block", b.id, "err", err)
		return erasure.Bundle{Info: b.info}
	}
	return erasure.Bundle{Info: b.info, Proof: d.proof, Layers: d.layers}
}

// Held returns the pieces held, a copy.
func (b *Block) Held() erasure.PieceSet {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held.Clone()
}

// Has reports whether piece is held.
func (b *Block) Has(piece int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held.Has(piece)
}

// Rows is the number of rows in the held pieces.
func (b *Block) Rows() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.g.RowsIn(b.held)
}

// Whole reports whether all pieces are held and the block was checked clean,
// now or before: that it is clean follows from its ID.
func (b *Block) Whole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.clean && b.held.Count() == b.g.Pieces()
}

// Quarantined returns the pieces that were held and found damaged, a copy.
// They are not held and not served; their space stays reserved and their bytes
// stay as they are, since good rows among them help Repair, until Repair or a
// commit makes them held again or DropPieces drops them.
func (b *Block) Quarantined() erasure.PieceSet {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bad.Clone()
}

// Bytes is what the block is counted for against the quota.
func (b *Block) Bytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.charged
}

// Content reads the content, Length bytes. A read of a piece that is not held
// is ErrNotHeld. What is read was verified when it was stored, not again.
func (b *Block) Content() *io.SectionReader {
	return io.NewSectionReader(contentReader{b}, 0, b.g.Length())
}

// contentReader reads the padded content through the pieces.
type contentReader struct{ b *Block }

func (r contentReader) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		if off >= r.b.g.PaddedLength() {
			return done, io.EOF
		}
		piece := int(off / r.b.g.PieceLength())
		within := off % r.b.g.PieceLength()
		n := min(int64(len(p)-done), pieceBytes(r.b.g, piece)-within)
		m, err := r.b.serve(piece, p[done:done+int(n)], within, true)
		done, off = done+m, off+int64(m)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// path is that of the block's file name.
func (b *Block) path(name string) string { return filepath.Join(b.dir, name) }

// place says which file holds piece, and where it starts there in bytes.
func (b *Block) place(piece int) (name string, off int64) {
	if piece < b.g.FilePieces() {
		return contentFile, int64(piece) * b.g.PieceLength()
	}
	return parityFile, int64(piece-b.g.FilePieces()) * b.g.PieceLength()
}

func (b *Block) checkPiece(piece int) error {
	if piece < 0 || piece >= b.g.Pieces() {
		return fmt.Errorf("%w: piece %d of %d in %s", ErrPiece, piece, b.g.Pieces(), b.id)
	}
	return nil
}

func (b *Block) errGone() error { return fmt.Errorf("%w: %s", ErrNotFound, b.id) }

// lock takes the gate exclusively once nobody has the block to himself.
func (b *Block) lock(ctx context.Context) error {
	for {
		b.gate.Lock()
		b.mu.Lock()
		gone, busy := b.gone, b.busy
		b.mu.Unlock()
		if !gone && busy == nil {
			return nil
		}
		b.gate.Unlock()
		if gone {
			return b.errGone()
		}
		if err := wait(ctx, busy); err != nil {
			return err
		}
	}
}

// exclude waits until no piece is being read, written or committed and gives
// the caller the block to himself: until end is called others that would
// write, commit, drop, complete or delete wait. Reading goes on.
func (b *Block) exclude(ctx context.Context) (end func(), err error) {
	if err := b.lock(ctx); err != nil {
		return nil, err
	}
	b.mu.Lock()
	busy := make(chan struct{})
	b.busy = busy // no commit begins from here on
	last := slices.Collect(maps.Values(b.sealed))
	b.mu.Unlock()
	b.gate.Unlock()

	end = func() {
		b.mu.Lock()
		b.busy = nil
		b.mu.Unlock()
		close(busy)
	}
	for _, c := range last {
		if err := wait(ctx, c.done); err != nil {
			end()
			return nil, err
		}
	}
	return end, nil
}

// wait waits for done to be closed, or for ctx.
func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// bury makes the block gone once no read is under way, and returns what it was
// charged.
func (b *Block) bury() int64 {
	b.gate.Lock()
	defer b.gate.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = true
	b.state = newState(b.g.Pieces())
	b.touched = erasure.NewPieceSet(b.g.Pieces())
	return b.charged
}

// HasContent reports whether all content pieces are held and the block was
// checked clean: whatever parity was dropped, Complete can make again from them.
func (b *Block) HasContent() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.clean {
		return false
	}
	for p := range b.g.FilePieces() {
		if !b.held.Has(p) {
			return false
		}
	}
	return true
}
