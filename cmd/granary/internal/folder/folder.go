package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"granary/cmd/granary/internal/durable"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
)

// encoded is what is left of an encoded folder.
type encoded struct {
	info     erasure.Info
	layers   *erasure.Layers   // nil: no usable .torrent
	verifier *erasure.Verifier // nil: no usable proof
	content  *os.File          // nil: gone
	parity   *os.File          // nil: gone
	damage   []string          // what was found damaged and is done without
}

// openFolder reads the descriptions in dir. One good one is enough; two that
// describe different blocks are an erasure.ErrInfo.
func openFolder(dir string) (*encoded, error) {
	f := &encoded{}
	if err := f.describe(dir); err != nil {
		return nil, fmt.Errorf("folder %s: %w", dir, err)
	}
	proof, err := durable.Read(filepath.Join(dir, "proof"), 16*int64(f.info.Geometry().K()))
	if err == nil {
		f.verifier, err = erasure.NewVerifier(f.info, proof)
	}
	if err != nil {
		f.damage = append(f.damage, fmt.Sprintf("proof: %v", err))
	}
	for _, file := range []struct {
		name string
		dst  **os.File
	}{{"content", &f.content}, {"parity", &f.parity}} {
		*file.dst, err = os.Open(filepath.Join(dir, file.name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(err, f.close())
		}
	}
	return f, nil
}

func (f *encoded) describe(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	torrents, err := filepath.Glob(filepath.Join(escape(dir), "*.torrent"))
	if err != nil {
		return err
	}
	var found []erasure.Info
	var refused []error
	for _, path := range torrents {
		b, err := node.ReadTorrent(path)
		if err != nil {
			refused = append(refused, err)
			continue
		}
		found = append(found, b.Info)
		f.layers = &b.Layers
	}
	i, err := readRecord(filepath.Join(dir, "record.json"))
	switch {
	case err == nil:
		found = append(found, i)
	case !errors.Is(err, fs.ErrNotExist):
		refused = append(refused, err)
	}
	if len(found) == 0 {
		if len(refused) > 0 {
			return fmt.Errorf("no description of a block is left: %w", errors.Join(refused...))
		}
		return fmt.Errorf("%w: neither a .torrent nor a record.json is there", erasure.ErrInfo)
	}
	for _, other := range found[1:] {
		if other != found[0] {
			return fmt.Errorf("%w: its files describe different blocks, %s and %s; move one away",
				erasure.ErrInfo, found[0].ID().Short(), other.ID().Short())
		}
	}
	f.info = found[0]
	for _, err := range refused {
		f.damage = append(f.damage, err.Error())
	}
	return nil
}

// escape makes dir literal in a glob pattern.
func escape(dir string) string {
	var b []byte
	for i := range len(dir) {
		switch dir[i] {
		case '*', '?', '[', '\\':
			b = append(b, '\\')
		}
		b = append(b, dir[i])
	}
	return string(b)
}

func (f *encoded) close() error {
	var errs []error
	for _, file := range []*os.File{f.content, f.parity} {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	return errors.Join(errs...)
}

// good finds the rows that can be told to belong to the block.
func (f *encoded) good(ctx context.Context) ([]bool, error) {
	g := f.info.Geometry()
	rows := make([]bool, g.Rows())
	buf := make([]byte, g.PieceLength())
	leaves := [2][]erasure.Root{}
	for piece := range g.Pieces() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		first, count := g.PieceSpan(piece)
		file, base, half := f.content, first, 0
		if first >= g.K() {
			file, base, half = f.parity, first-g.K(), 1
		}
		if file == nil {
			continue
		}
		data := buf[:count*erasure.RowSize]
		n, err := file.ReadAt(data, int64(base)*erasure.RowSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read %s: %w", file.Name(), err)
		}
		whole := n / erasure.RowSize
		for i := range whole {
			leaves[half] = append(leaves[half], erasure.LeafHash(data[i*erasure.RowSize:][:erasure.RowSize]))
		}
		f.judge(rows, g, piece, data[:whole*erasure.RowSize])
	}
	// A complete file is told by its root alone.
	for half, root := range []erasure.Root{f.info.Content, f.info.Parity} {
		if len(leaves[half]) == g.K() && erasure.FileRoot(leaves[half]) == root {
			for i := range g.K() {
				rows[half*g.K()+i] = true
			}
		}
	}
	return rows, nil
}

// judge marks the rows of one piece that its hash or their combinations prove.
func (f *encoded) judge(rows []bool, g erasure.Geometry, piece int, data []byte) {
	first, count := g.PieceSpan(piece)
	if f.layers != nil && len(data) == count*erasure.RowSize {
		if h, err := erasure.PieceHash(g, piece, data); err == nil && h == f.layers.Piece(piece) {
			for i := range count {
				rows[first+i] = true
			}
			return
		}
	}
	if f.verifier == nil {
		return
	}
	for i := range len(data) / erasure.RowSize {
		rows[first+i] = f.verifier.Combination(first+i, data[i*erasure.RowSize:][:erasure.RowSize]) == nil
	}
}
