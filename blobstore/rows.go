package blobstore

import (
	"io"

	"granary/erasure"
)

// rowWriter writes each row of a file, the first of which is row first of the
// block, to where to says, at the same place; nil: nowhere.
type rowWriter struct {
	first int
	to    func(row int) io.WriterAt
}

func (w *rowWriter) WriteAt(p []byte, off int64) (int, error) {
	return eachRow(p, off, func(row int, p []byte, off int64) (int, error) {
		if f := w.to(w.first + row); f != nil {
			return f.WriteAt(p, off)
		}
		return len(p), nil
	})
}

// rowReader reads each content row from where from says, at the same place.
type rowReader struct{ from func(row int) io.ReaderAt }

func (r *rowReader) ReadAt(p []byte, off int64) (int, error) {
	return eachRow(p, off, func(row int, p []byte, off int64) (int, error) {
		n, err := r.from(row).ReadAt(p, off)
		if n == len(p) {
			err = nil // io.EOF of the last row
		}
		return n, err
	})
}

// eachRow cuts p, which lies at off of a file, at the ends of rows.
func eachRow(p []byte, off int64, f func(row int, p []byte, off int64) (int, error)) (done int, err error) {
	for done < len(p) {
		at := off + int64(done)
		n := min(len(p)-done, int(erasure.RowSize-at%erasure.RowSize))
		m, err := f(int(at/erasure.RowSize), p[done:done+n], at)
		done += m
		if err != nil {
			return done, err
		}
	}
	return done, nil
}
