package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"granary/cmd/granary/internal/durable"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
)

// Decoded tells how content was restored.
type Decoded struct {
	node.Record
	GoodRows int      `json:"rows_good"`        // of all 2k, before decoding
	Restored int      `json:"rows_restored"`    // content rows that had to be computed
	Damage   []string `json:"damage,omitempty"` // descriptions found damaged and done without
}

// Decode restores the content of the folder dir as the file out, which it
// replaces only with force. It returns an erasure.TooFewRowsError when fewer
// than k rows are good, erasure.ErrNotClean when they contradict the record.
func Decode(ctx context.Context, dir, out string, force bool, progress erasure.Progress) (Decoded, error) {
	if err := Free(out, force); err != nil {
		return Decoded{}, err
	}
	f, err := openFolder(dir)
	if err != nil {
		return Decoded{}, err
	}
	defer f.close()
	rows, err := f.good(ctx)
	if err != nil {
		return Decoded{}, err
	}
	d := Decoded{Record: node.NewRecord(f.info), Damage: f.damage}
	k := f.info.Geometry().K()
	for i, good := range rows {
		switch {
		case good:
			d.GoodRows++
		case i < k:
			d.Restored++
		}
	}
	if d.GoodRows < k {
		return d, fmt.Errorf("folder %s: %w", dir, &erasure.TooFewRowsError{Have: d.GoodRows, Need: k})
	}
	if err := durable.Replace(out, 0o644, func(w *os.File) error { return f.restore(ctx, rows, w, progress) }); err != nil {
		return d, fmt.Errorf("restore %s: %w", out, err)
	}
	return d, nil
}

// restore writes the content to w: good rows as they are, the others decoded.
func (f *encoded) restore(ctx context.Context, rows []bool, w *os.File, progress erasure.Progress) error {
	g := f.info.Geometry()
	if err := w.Truncate(g.PaddedLength()); err != nil {
		return err
	}
	row := make([]byte, erasure.RowSize)
	for i := range g.K() {
		if !rows[i] {
			continue
		}
		if _, err := f.content.ReadAt(row, int64(i)*erasure.RowSize); err != nil {
			return err
		}
		if _, err := w.WriteAt(row, int64(i)*erasure.RowSize); err != nil {
			return err
		}
	}
	src := erasure.Source{Have: func(i int) bool { return rows[i] }, Content: f.content, Parity: f.parity}
	if err := erasure.Recover(ctx, g, src, w, progress); err != nil {
		return err
	}
	if _, err := erasure.CheckClean(ctx, f.info, w, nowhere{}, nil); err != nil {
		return err
	}
	return w.Truncate(f.info.Length)
}

// Free returns nil if a file can be put at out, as far as that can be told before it
// is there: ErrExists without force, ErrFolder, ErrNoFile for a device or a pipe, or
// that the folder it is to be in is missing.
func Free(out string, force bool) error {
	st, err := os.Stat(out)
	switch {
	case err == nil && st.IsDir():
		return fmt.Errorf("%s %w", out, ErrFolder)
	case err == nil && !st.Mode().IsRegular():
		return fmt.Errorf("%s %w", out, ErrNoFile)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if _, err := os.Lstat(out); err == nil && !force {
		return fmt.Errorf("%s %w", out, ErrExists)
	}
	_, err = os.Stat(filepath.Dir(out))
	return err
}
