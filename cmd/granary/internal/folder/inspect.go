package folder

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/text/unicode/norm"

	"granary/cmd/granary/internal/durable"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
)

// BlockName is the name of the block of the file at path: name, or the file's
// own when that is empty, in Unicode's composed form. It returns
// erasure.ErrName for a name that no block may have.
func BlockName(path, name string) (string, error) {
	if name == "" {
		name = filepath.Base(path)
	}
	name = norm.NFC.String(name)
	return name, erasure.CheckName(name)
}

// Inspect tells what path is: the record that publishing a file would give
// under name (see BlockName), or the record that a .torrent, a record.json or an encoded folder holds.
// Nothing is written.
func Inspect(ctx context.Context, path, name string, progress erasure.Progress) (node.Record, error) {
	st, err := os.Stat(path)
	if err != nil {
		return node.Record{}, fmt.Errorf("inspect: %w", err)
	}
	switch {
	case st.IsDir():
		f, err := openFolder(path)
		if err != nil {
			return node.Record{}, err
		}
		return node.NewRecord(f.info), f.close()
	case strings.HasSuffix(path, ".torrent"):
		b, err := node.ReadTorrent(path)
		if err != nil {
			return node.Record{}, err
		}
		return node.NewRecord(b.Info), nil
	case filepath.Base(path) == "record.json":
		i, err := readRecord(path)
		if err != nil {
			return node.Record{}, err
		}
		return node.NewRecord(i), nil
	}
	name, err = BlockName(path, name)
	if err != nil {
		return node.Record{}, err
	}
	in, err := Open(path)
	if err != nil {
		return node.Record{}, err
	}
	defer in.Close()
	bundle, err := erasure.Commit(ctx, name, in.Length(), in, nowhere{}, progress)
	if changed := in.Unchanged(); changed != nil {
		err = changed
	}
	if err != nil {
		return node.Record{}, fmt.Errorf("inspect: %w", err)
	}
	return node.NewRecord(bundle.Info), nil
}

// nowhere takes parity that nobody needs.
type nowhere struct{}

// WriteAt drops p.
func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// maxRecord bounds a record.json.
const maxRecord = 64 << 10

func readRecord(path string) (erasure.Info, error) {
	raw, err := durable.Read(path, maxRecord)
	if err != nil {
		return erasure.Info{}, err
	}
	return node.ParseRecord(raw)
}
