package blobstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"granary/erasure"
)

// ScrubConfig is how a block is scrubbed; the zero value works.
type ScrubConfig struct {
	// Pace is called before so many bytes are read, to wait as long as the
	// caller likes; its error ends the scrub. nil: as fast as the disk.
	Pace func(ctx context.Context, bytes int) error

	// Progress is told of bytes read, of those to be read; nil: nobody.
	Progress erasure.Progress

	// Afresh begins with the first piece, where a scrub that was cut short
	// would go on.
	Afresh bool
}

// Scrubbed is what one call of Block.Scrub found.
type Scrubbed struct {
	Pieces int              // read and checked
	Bytes  int64            // read
	Bad    erasure.PieceSet // found damaged now, and quarantined
	Mended []string         // names of files that were replaced: info, proof, layers, or content and parity of a wrong length
}

// scrubStride is after how many bytes a scrub notes how far it is.
const scrubStride = 256 << 20

// Scrub reads every held piece from the disk and checks it: its hash, and, if the
// block was never found clean, the combination of each row. What does not verify
// or cannot be read is quarantined at once. The description is checked too, and
// written anew from memory, or from the content, where it is damaged.
//
// Scrubs of one store run one after the other; reading and writing goes on
// meanwhile. A scrub that was cut short goes on where it stopped, also after a
// restart. It returns ErrDamaged when the pieces cannot be checked, because the
// description is lost or the folder is not there, and the system's error when a
// disk or server is away: then nothing is quarantined.
func (b *Block) Scrub(ctx context.Context, cfg ScrubConfig) (Scrubbed, error) {
	ctx, leave, err := b.s.enter(ctx)
	if err != nil {
		return Scrubbed{}, err
	}
	defer leave()
	select {
	case b.s.scrubs <- struct{}{}:
		defer func() { <-b.s.scrubs }()
	case <-ctx.Done():
		return Scrubbed{}, context.Cause(ctx)
	}
	var r Scrubbed
	before := b.Quarantined()
	if r.Mended, err = b.scrubFiles(ctx); err == nil {
		err = b.scrubPieces(ctx, cfg, &r)
	}
	r.Bad = b.Quarantined()
	for p := range before.All() {
		r.Bad.Remove(p)
	}
	if err != nil {
		return r, fmt.Errorf("scrub %s: %w", b.id, err)
	}
	return r, nil
}

// scrubFiles makes sure that the block's files are there, have their lengths,
// and describe the block.
func (b *Block) scrubFiles(ctx context.Context) (mended []string, err error) {
	if err := b.lock(ctx); err != nil {
		return nil, err
	}
	defer b.gate.Unlock()
	if info, err := os.Stat(b.dir); err != nil {
		return nil, fmt.Errorf("its folder cannot be read: %w", unusable(b.id, err)) // what it held is not lost yet
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%w: %s: its folder is a file", ErrDamaged, b.id)
	}
	sizes, err := b.fitFiles()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{contentFile, parityFile} {
		if err := b.s.files.renew(b.path(name)); err != nil {
			return nil, err
		}
	}
	mended, err = b.scrubDescription(ctx)
	return append(sizes.fitted, mended...), err
}

// scrubDescription reads info, layers and proof from the disk, and writes them
// anew where they are damaged.
func (b *Block) scrubDescription(ctx context.Context) (mended []string, err error) {
	b.describing.Lock()
	defer b.describing.Unlock()
	raw, err := readFile(b.path(infoFile), maxInfoLength)
	if isAway(err) {
		return nil, err
	}
	if err != nil || !bytes.Equal(raw, b.info.Encode()) {
		mended = append(mended, infoFile)
	}
	d, proofErr, err := b.readDescription()
	if isAway(err) {
		return nil, err
	}
	if err != nil {
		mended = append(mended, layersFile)
	}
	if proofErr != nil || err == nil && d.proof == nil && b.clean { // what is clean had a proof
		mended = append(mended, proofFile)
	}
	if len(mended) == 0 {
		return nil, nil
	}
	b.s.log.Error("stored description is damaged", "block", b.id, "files", mended, "err", errors.Join(err, proofErr))
	bundle, known := b.recall(ctx, d)
	switch {
	case known:
	case err != nil:
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, b.id, err)
	default:
		mended = slices.DeleteFunc(mended, func(name string) bool { return name == proofFile }) // unknown, to be learnt again
		bundle = erasure.Bundle{Info: b.info, Layers: d.layers}
	}
	if err := b.s.writeDescription(b.dir, bundle, true); err != nil {
		return nil, diskError(err)
	}
	b.s.known.forget(b.id)
	return mended, nil
}

// recall returns the whole description, proof included, although the files are
// damaged: as it was read before, or made from the content. onDisk may be nil.
func (b *Block) recall(ctx context.Context, onDisk *description) (_ erasure.Bundle, ok bool) {
	for _, d := range []*description{onDisk, b.s.known.get(b.id)} {
		if d != nil && d.proof != nil {
			return erasure.Bundle{Info: b.info, Layers: d.layers, Proof: d.proof}, true
		}
	}
	content, err := b.s.files.acquire(b.path(contentFile))
	if err != nil {
		return erasure.Bundle{}, false
	}
	defer b.s.files.release(content)
	bundle, err := erasure.CheckClean(ctx, b.info, content, nil, nil)
	return bundle, err == nil
}

// scrubPieces checks the held pieces one by one.
func (b *Block) scrubPieces(ctx context.Context, cfg ScrubConfig, r *Scrubbed) (err error) {
	b.mu.Lock()
	pass := b.pass
	b.mu.Unlock()
	if cfg.Afresh || pass.began.IsZero() || pass.next >= b.g.Pieces() {
		pass = pass.begin()
	}
	var total, unsaved int64
	var past uncached
	for p := pass.next; p < b.g.Pieces(); p++ {
		if b.Has(p) {
			total += pieceBytes(b.g, p)
		}
	}
	defer func() { // also when it is cut short
		err = errors.Join(err, b.savePass(pass))
	}()
	for ; pass.next < b.g.Pieces(); pass.next++ {
		p := pass.next
		if !b.Has(p) {
			continue
		}
		n := pieceBytes(b.g, p)
		if cfg.Pace != nil {
			if err := cfg.Pace(ctx, int(n)); err != nil {
				return err
			}
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := b.inspect(ctx, p, &past); err != nil {
			return err
		}
		r.Pieces++
		r.Bytes += n
		if unsaved += n; unsaved >= scrubStride {
			unsaved = 0
			if err := b.savePass(pass); err != nil {
				return err
			}
		}
		if cfg.Progress != nil {
			cfg.Progress(r.Bytes, total)
		}
	}
	pass = pass.end()
	return nil
}

// uncacheStride is how many bytes are read anew at a time: so many that little is
// lost of what the system read ahead.
const uncacheStride = 8 << 20

// uncached says up to where a file was taken out of the system's cache.
type uncached struct {
	name string
	end  int64
}

// inspect checks one piece as it is on the disk.
func (b *Block) inspect(ctx context.Context, piece int, past *uncached) error {
	name, off := b.place(piece)
	f, err := b.s.files.acquire(b.path(name))
	if err != nil {
		return err
	}
	if past.name != name || past.end < off+pieceBytes(b.g, piece) {
		uncache(f.File, off, uncacheStride)
		*past = uncached{name, off + uncacheStride}
	}
	b.s.files.release(f)
	if err := b.examine(piece, true); err == nil || errors.Is(err, ErrNotHeld) || errors.Is(err, ErrNotFound) {
		return nil // or dropped meanwhile
	}
	return b.doubt(ctx, piece)
}

// examine reads a held piece and checks it. gated: the caller has not the gate.
func (b *Block) examine(piece int, gated bool) error {
	d, err := b.describe()
	if err != nil {
		return err
	}
	buf := b.s.buffer()
	defer b.s.buffers.Put(buf)
	data := (*buf)[:pieceBytes(b.g, piece)]
	if gated {
		_, err = b.read(piece, data, 0, true)
	} else {
		_, err = b.readAt(piece, data, 0)
	}
	if err != nil {
		return err
	}
	b.mu.Lock()
	clean := b.clean
	b.mu.Unlock()
	if clean { // then the hash says all
		d = &description{layers: d.layers}
	}
	return b.check(d, piece, data)
}

// doubt looks at a held piece again with nobody else there, and quarantines it
// if it does not verify or the disk does not give it. What else is in the way of
// looking is the error.
func (b *Block) doubt(ctx context.Context, piece int) error {
	ctx, leave, err := b.s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := b.lock(ctx); err != nil {
		return err
	}
	defer b.gate.Unlock()
	if _, err := b.describe(); err != nil {
		return err // a piece that cannot be checked is not known to be bad
	}
	if !b.Has(piece) {
		return nil
	}
	cause := b.examine(piece, false)
	if cause == nil || !isDamage(cause) {
		return cause
	}
	one := erasure.NewPieceSet(b.g.Pieces())
	one.Add(piece)
	return b.quarantine(one, cause)
}
