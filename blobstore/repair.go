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

// fewParityRows is up to how many lost parity rows are computed one by one.
// Each reads the content once; coding it anew reads it twice and makes all.
const fewParityRows = 16

// Repair makes quarantined pieces held again: those that verify after all, and
// the others rebuilt from any k good rows that are here, held or in pieces that
// are damaged in other rows. It returns the pieces now held again, some maybe also
// with an error.
//
// A block that then has all its pieces, and was never found clean, is checked:
// Whole says so if it is. So it is after its index was lost.
//
// What is rebuilt was verified before it counts. Reads go on meanwhile, and
// whoever would change the block waits. It returns a *erasure.TooFewRowsError
// when the good rows do not suffice: the pieces stay quarantined, to be fetched;
// a *QuotaError when it needs room for rows that are not kept.
func (b *Block) Repair(ctx context.Context, progress erasure.Progress) (erasure.PieceSet, error) {
	none := erasure.NewPieceSet(b.g.Pieces())
	ctx, leave, err := b.s.enter(ctx)
	if err != nil {
		return none, err
	}
	defer leave()
	end, err := b.exclude(ctx)
	if err != nil {
		return none, err
	}
	defer end()
	if b.s.index.failed.Load() { // on disk they may be held
		return none, ErrFailed
	}
	r := repair{b: b, bad: b.Quarantined(), progress: progress}
	good := none
	if r.bad.Count() > 0 {
		good, err = r.run(ctx)
		if held := r.hold(good); held != nil {
			good, err = none, errors.Join(err, held)
		}
	}
	if unclean := b.confirm(ctx); !errors.Is(unclean, erasure.ErrNotClean) {
		err = errors.Join(err, unclean)
	}
	if err != nil {
		err = fmt.Errorf("repair %s: %w", b.id, diskError(err))
	}
	return good, err
}

// repair is one run of Block.Repair.
type repair struct {
	b        *Block
	bad      erasure.PieceSet
	progress erasure.Progress

	have []bool   // rows that are good where they are
	temp *os.File // content rows that are not kept and yet needed; nil: none are
}

// run rebuilds and returns the pieces of bad that verify in the end.
func (r *repair) run(ctx context.Context) (good erasure.PieceSet, err error) {
	good = erasure.NewPieceSet(r.b.g.Pieces())
	if err := r.survey(good); err != nil {
		return good, err
	}
	if good.Count() == r.bad.Count() {
		return good, nil
	}
	if err := r.rebuild(ctx); isLost(err) {
		return good, errors.Join(err, r.b.recheck(ctx)) // of a held piece
	} else if err != nil {
		return good, err
	}
	for p := range r.bad.All() {
		if good.Has(p) {
			continue
		}
		if err := r.b.verify(p); err != nil {
			// A row we built on is damaged as well, and not known to be.
			return good, errors.Join(err, r.b.recheck(ctx))
		}
		good.Add(p)
	}
	return good, nil
}

// survey finds the good rows, and adds to good the pieces that verify.
func (r *repair) survey(good erasure.PieceSet) error {
	b := r.b
	d, err := b.describe()
	if err != nil {
		return err
	}
	r.have = make([]bool, b.g.Rows())
	held := b.Held()
	for p := range held.All() {
		r.mark(p, func(int) bool { return true })
	}
	buf := b.s.buffer()
	defer b.s.buffers.Put(buf)
	for p := range r.bad.All() {
		data := (*buf)[:pieceBytes(b.g, p)]
		if _, err := b.readAt(p, data, 0); isDamage(err) {
			continue // it cannot be read: to be written anew
		} else if err != nil {
			return err
		}
		switch err := b.verify(p); {
		case err == nil:
			good.Add(p)
			r.mark(p, func(int) bool { return true })
		case !isDamage(err):
			return err
		case d.verifier != nil:
			first, _ := b.g.PieceSpan(p)
			r.mark(p, func(row int) bool {
				return d.verifier.Combination(row, data[(row-first)*erasure.RowSize:][:erasure.RowSize]) == nil
			})
		}
	}
	return nil
}

func (r *repair) mark(piece int, good func(row int) bool) {
	first, count := r.b.g.PieceSpan(piece)
	for row := first; row < first+count; row++ {
		r.have[row] = good(row)
	}
}

// rebuild writes every row of quarantined pieces that is not good.
func (r *repair) rebuild(ctx context.Context) error {
	b, k := r.b, r.b.g.K()
	var have, parity, absent int
	for row, ok := range r.have {
		bad := r.bad.Has(b.g.PieceOf(row))
		switch {
		case ok:
			have++
		case row >= k && bad:
			parity++
		case row < k && !bad:
			absent++ // never kept, or dropped
		}
	}
	if have < k {
		return &erasure.TooFewRowsError{Have: have, Need: k}
	}
	content, err := b.s.files.acquire(b.path(contentFile))
	if err != nil {
		return err
	}
	defer b.s.files.release(content)
	parityF, err := b.s.files.acquire(b.path(parityFile))
	if err != nil {
		return err
	}
	defer b.s.files.release(parityF)
	if parity > 0 && absent > 0 {
		done, err := r.scratch(int64(absent) * erasure.RowSize)
		if err != nil {
			return err
		}
		defer done()
	}
	if err := b.s.at("repair: write"); err != nil {
		return err
	}
	src := erasure.Source{Have: func(row int) bool { return r.have[row] }, Content: content, Parity: parityF}
	if err := erasure.Recover(ctx, b.g, src, &rowWriter{to: r.place(content)}, half(r.progress, 0)); err != nil {
		return err
	}
	if parity == 0 {
		return nil
	}
	from := &rowReader{from: func(row int) io.ReaderAt {
		if r.temp != nil && !r.have[row] && !r.bad.Has(b.g.PieceOf(row)) {
			return r.temp
		}
		return content
	}}
	return r.code(ctx, from, parityF, parity)
}

// place says where a content row that was computed goes: to its place if its
// piece is damaged, to the scratch file if somebody needs it, or nowhere.
func (r *repair) place(content io.WriterAt) func(row int) io.WriterAt {
	return func(row int) io.WriterAt {
		switch {
		case r.have[row]:
			return nil
		case r.bad.Has(r.b.g.PieceOf(row)):
			return content
		case r.temp != nil:
			return r.temp
		}
		return nil
	}
}

// code computes the lost parity rows, n of them, from all of the content.
func (r *repair) code(ctx context.Context, content io.ReaderAt, parity io.WriterAt, n int) error {
	b := r.b
	lost := func(row int) bool { return !r.have[row] && r.bad.Has(b.g.PieceOf(row)) }
	if n > fewParityRows {
		_, err := erasure.CheckClean(ctx, b.info, content, &rowWriter{first: b.g.K(), to: func(row int) io.WriterAt {
			if lost(row) {
				return parity
			}
			return nil
		}}, half(r.progress, 1))
		return err
	}
	row := make([]byte, erasure.RowSize)
	for i := b.g.K(); i < b.g.Rows(); i++ {
		if !lost(i) {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := erasure.ParityRow(b.g, i, content, row); err != nil {
			return err
		}
		if _, err := parity.WriteAt(row, int64(i-b.g.K())*erasure.RowSize); err != nil {
			return err
		}
	}
	return nil
}

// scratch opens a file for n bytes of content rows, which done removes.
func (r *repair) scratch(n int64) (done func(), err error) {
	s := r.b.s
	n = roundUp(n) + blockCost(0, r.b.g) // the map of a sparse file is in it
	if err := s.quota.reserve(n); err != nil {
		return nil, err
	}
	path := filepath.Join(r.b.dir, freshPrefix+contentFile)
	r.temp, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err == nil {
		err = r.temp.Truncate(r.b.g.PaddedLength())
	}
	done = func() {
		if r.temp != nil {
			_ = r.temp.Close() // scratch
		}
		if err := os.Remove(path); err != nil {
			s.log.Warn("scratch file stays until the next start", "file", path, "err", err)
			return // on disk, and counted
		}
		s.quota.release(n)
	}
	if err != nil {
		done()
		return nil, err
	}
	return done, nil
}

// hold makes verified pieces durable and held.
func (r *repair) hold(good erasure.PieceSet) error {
	if good.Count() == 0 {
		return nil
	}
	for _, name := range []string{contentFile, parityFile} {
		if err := r.b.sync(name); err != nil {
			return err
		}
	}
	if err := r.b.s.at("repair: index"); err != nil {
		return err
	}
	err := r.b.change(func(st *state) {
		for p := range good.All() {
			st.hold(p)
		}
	})
	if err != nil {
		return err
	}
	r.b.s.log.Info("damaged pieces are repaired", "block", r.b.id, "pieces", good.Count())
	return r.b.s.at("repair: acknowledge")
}
