package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"granary/erasure"
)

// load makes a Block of the folder of id and of what the index has of it, and
// charges the quota. It repairs what a crash can leave: files that are being
// replaced, bytes of pieces that are not held: those of whole pieces are. What no crash leaves, it reports:
// an error when the description is damaged, the logger when pieces are lost.
func (s *Store) load(ctx context.Context, id erasure.ID, r record) (*Block, error) {
	dir := s.folder(id)
	encoded, err := readFile(filepath.Join(dir, infoFile), maxInfoLength)
	if err != nil {
		return nil, err
	}
	info, err := erasure.ParseInfo(encoded)
	if err != nil {
		return nil, err
	}
	if got := info.ID(); got != id {
		return nil, fmt.Errorf("info is that of %s", got)
	}
	b := newBlock(s, info)
	layers, err := os.Stat(filepath.Join(dir, layersFile))
	if err != nil {
		return nil, err
	}
	if got, want := layers.Size(), layersLength(b.g); got != want {
		return nil, fmt.Errorf("layers has %d bytes, want %d", got, want)
	}
	for _, name := range []string{infoFile, proofFile, layersFile, contentFile} { // the last of a repair
		if err := os.Remove(filepath.Join(dir, freshPrefix+name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	b.pass = r.pass
	indexed := r.state != nil
	if indexed {
		st, err := parseState(id, b.g.Pieces(), r.state)
		if indexed = err == nil; indexed {
			b.state = st
		} else {
			s.log.Error("index entry cannot be read: verifying the block's pieces", "block", id, "err", err)
		}
	}
	sizes, err := b.fitFiles()
	if err != nil {
		return nil, err
	}
	look := b.salvage
	if !indexed {
		look = b.adopt
	}
	if err := look(ctx, sizes); err != nil {
		return nil, err
	}
	return b, b.settle(sizes)
}

// fileSizes is what the stored files take on disk, in bytes.
type fileSizes struct {
	content, parity int64
	fitted          []string // names of those that were missing or had another length
}

// fitFiles gives both files the length they must have. Held pieces that a
// shorter file lacks are quarantined.
func (b *Block) fitFiles() (fileSizes, error) {
	var sizes fileSizes
	lost := erasure.NewPieceSet(b.g.Pieces())
	for _, f := range []struct {
		name  string
		first int // its first piece
		size  *int64
	}{{contentFile, 0, &sizes.content}, {parityFile, b.g.FilePieces(), &sizes.parity}} {
		path := b.path(f.name)
		info, err := os.Lstat(path)
		var length int64
		switch {
		case err == nil && info.Mode().IsRegular():
			length, *f.size = info.Size(), allocated(info)
		case errors.Is(err, fs.ErrNotExist):
			if err := errors.Join(createSparse(path, 0), syncDir(b.dir)); err != nil {
				return sizes, err
			}
		case err != nil:
			return sizes, err
		default:
			return sizes, fmt.Errorf("%s is not a file", f.name)
		}
		if length == b.g.PaddedLength() {
			continue
		}
		for p := f.first; p < f.first+b.g.FilePieces(); p++ {
			if end := int64(p-f.first)*b.g.PieceLength() + pieceBytes(b.g, p); end > length && b.Has(p) {
				lost.Add(p)
			}
		}
		b.s.log.Error("stored file was missing or had the wrong length", "block", b.id, "file", f.name,
			"bytes", length, "want", b.g.PaddedLength())
		sizes.fitted = append(sizes.fitted, f.name)
		if err := os.Truncate(path, b.g.PaddedLength()); err != nil {
			return sizes, err
		}
	}
	if lost.Count() > 0 {
		return sizes, b.quarantine(lost, errors.New("the file was too short"))
	}
	return sizes, nil
}

// adopt finds out which pieces of a block that the index does not know are
// there, by verifying them, and writes its entry. An Import that was cut short
// after its last step leaves such a block, and so does a lost index. What is
// written there and does not verify may have been held: it is quarantined, for
// its good rows and for its repair.
func (b *Block) adopt(ctx context.Context, sizes fileSizes) error {
	b.s.adopting.Lock() // coding takes memory, and reading two blocks at once time
	defer b.s.adopting.Unlock()
	for p := range b.g.Pieces() {
		if err := ctx.Err(); err != nil {
			return err
		}
		size := sizes.content
		if p >= b.g.FilePieces() {
			size = sizes.parity
		}
		if size == 0 {
			continue // nothing was ever written there
		}
		switch err := b.verify(p); {
		case err == nil:
			b.held.Add(p)
		case !isDamage(err):
			return err
		case !b.blank(p):
			b.bad.Add(p)
		}
	}
	// They may still be in the page cache only.
	for _, name := range []string{contentFile, parityFile} {
		if err := b.sync(name); err != nil {
			return err
		}
	}
	b.s.log.Warn("block was not in the index: its pieces were verified", "block", b.id,
		"pieces", b.held.Count(), "quarantined", b.bad.Count())
	if err := b.s.index.put(b.id, b.state); err != nil {
		return err
	}
	b.touched = b.held.Clone()
	if err := b.confirm(ctx); err != nil && !errors.Is(err, erasure.ErrNotClean) {
		return err
	}
	return nil
}

// blank reports whether nothing but zeros can be read of a piece.
func (b *Block) blank(piece int) bool {
	buf := b.s.buffer()
	defer b.s.buffers.Put(buf)
	data := (*buf)[:pieceBytes(b.g, piece)]
	if _, err := b.readAt(piece, data, 0); err != nil {
		return false
	}
	for _, c := range data {
		if c != 0 {
			return false
		}
	}
	return true
}

// settle gives the space of pieces that are neither held nor quarantined back,
// and counts what the block takes: no less than what those were promised.
func (b *Block) settle(sizes fileSizes) error {
	promised := blockCost(len(b.info.Encode()), b.g)
	kept := b.held.Clone()
	kept.Union(b.bad)
	var content, parity int64
	for p := range kept.All() {
		if p < b.g.FilePieces() {
			content += pieceBytes(b.g, p)
		} else {
			parity += pieceBytes(b.g, p)
		}
	}
	b.touched = kept
	b.charged = promised + content + parity
	if sizes.content > content || sizes.parity > parity {
		rest := erasure.AllPieces(b.g.Pieces())
		for p := range kept.All() {
			rest.Remove(p)
		}
		if err := b.punch(rest); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		n, err := diskUsage(b.dir, nil)
		if err != nil {
			return err
		}
		b.charged = max(b.charged, n)
	}
	b.s.quota.charge(b.charged)
	return nil
}

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is longer than %d bytes", filepath.Base(path), limit)
	}
	return data, err
}
