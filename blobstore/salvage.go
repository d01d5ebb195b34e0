package blobstore

import (
	"context"
	"errors"

	"granary/erasure"
)

// salvage makes pieces held that were written whole and not yet entered in the
// index when the process ended: a disk may be seconds behind the network, and
// nobody need bring them again. They are verified and fsynced like any other. Of
// a block of which pieces were dropped nothing is looked for: it would bring them
// back.
//
// What is in the way of it, such as a full disk, costs the pieces and nothing
// else: they were promised to nobody.
func (b *Block) salvage(ctx context.Context, sizes fileSizes) error {
	if !tellsHoles || b.dropped || b.held.Count() == b.g.Pieces() {
		return nil
	}
	b.rewrite = true // the fsync of the process before may have failed, see verify
	err := b.salvagePieces(ctx, sizes)
	if err == nil {
		b.rewrite = false
		return nil
	}
	if ctx.Err() != nil || errors.Is(err, ErrFailed) { // on disk they may be held
		return err
	}
	b.s.log.Warn("pieces that were written and not held yet are given up", "block", b.id, "err", err)
	return nil
}

func (b *Block) salvagePieces(ctx context.Context, sizes fileSizes) error {
	known := b.held.Clone()
	known.Union(b.bad)
	found := erasure.NewPieceSet(b.g.Pieces())
	for _, f := range []struct {
		name  string
		first int // its first piece
		size  int64
	}{{contentFile, 0, sizes.content}, {parityFile, b.g.FilePieces(), sizes.parity}} {
		pieces := erasure.NewPieceSet(b.g.Pieces())
		excess := f.size - mapBytes(b.g)
		for p := f.first; p < f.first+b.g.FilePieces(); p++ {
			if known.Has(p) {
				excess -= pieceBytes(b.g, p)
			} else {
				pieces.Add(p)
			}
		}
		if excess < b.g.PieceLength() {
			continue // as after every other end: nothing is read
		}
		before := found.Count()
		for p := range pieces.All() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if b.blank(p) {
				continue
			}
			switch err := b.verify(p); {
			case err == nil:
				found.Add(p)
			case !isDamage(err):
				return err
			}
		}
		if found.Count() > before {
			if err := b.sync(f.name); err != nil {
				return err
			}
		}
	}
	if found.Count() == 0 {
		return nil
	}
	b.s.log.Info("pieces found that were written and not held yet", "block", b.id, "pieces", found.Count())
	return b.change(func(st *state) {
		for p := range found.All() {
			st.hold(p)
		}
	})
}
