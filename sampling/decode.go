package sampling

import (
	"context"
	"fmt"
	"io"

	"granary/erasure"
)

// assembly puts verified rows of one block together, until they decode.
type assembly struct {
	info    erasure.Info
	scratch Scratch
	have    []bool // by row
}

// newAssembly returns an empty one in scratch, or in memory if that is nil.
func newAssembly(info erasure.Info, scratch Scratch) *assembly {
	rows := info.Geometry().Rows()
	if scratch == nil {
		scratch = make(memory, rows*erasure.RowSize)
	}
	return &assembly{info: info, scratch: scratch, have: make([]bool, rows)}
}

// keep adds a verified row. It keeps no reference to data.
func (a *assembly) keep(row int, data []byte) error {
	if _, err := a.scratch.WriteAt(data, int64(row)*erasure.RowSize); err != nil {
		return fmt.Errorf("keep row %d: %w", row, err)
	}
	a.have[row] = true
	return nil
}

// check decodes the block and encodes it again. It returns nil if that gives
// its ID, and an error that wraps erasure.ErrNotClean if it does not.
func (a *assembly) check(ctx context.Context) error {
	g := a.info.Geometry()
	content := io.NewSectionReader(a.scratch, 0, g.PaddedLength())
	src := erasure.Source{
		Have:    func(row int) bool { return a.have[row] },
		Content: content,
		Parity:  io.NewSectionReader(a.scratch, g.PaddedLength(), g.PaddedLength()),
	}
	if err := erasure.Recover(ctx, g, src, a.scratch, nil); err != nil {
		return err
	}
	_, err := erasure.CheckClean(ctx, a.info, content, nil, nil)
	return err
}

// memory is a Scratch of fixed size. What was never written costs nothing but
// address space.
type memory []byte

// ReadAt implements io.ReaderAt.
func (m memory) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 || at >= int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(p, m[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements io.WriterAt.
func (m memory) WriteAt(p []byte, at int64) (int, error) {
	if at < 0 || at+int64(len(p)) > int64(len(m)) {
		return 0, io.ErrShortWrite
	}
	return copy(m[at:], p), nil
}
