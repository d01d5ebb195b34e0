package folder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"granary/cmd/granary/internal/durable"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
)

// ErrExists reports an output that would be overwritten.
var ErrExists = errors.New("already exists")

// Encode codes the file at path as a block named name into dir, which must be
// empty or absent unless force is set. It returns the block's record.
func Encode(ctx context.Context, path, name, dir string, force bool, progress erasure.Progress) (node.Record, error) {
	in, err := Open(path)
	if err != nil {
		return node.Record{}, err
	}
	defer in.Close()
	if _, err := erasure.NewGeometry(in.Length()); err != nil {
		return node.Record{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := prepare(dir, force); err != nil {
		return node.Record{}, err
	}
	bundle, err := writeRows(ctx, in, name, dir, progress)
	if err != nil {
		return node.Record{}, fmt.Errorf("encode %s into %s: %w", path, dir, err)
	}
	record := node.NewRecord(bundle.Info)
	text, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return node.Record{}, fmt.Errorf("encode record: %w", err)
	}
	if err := forget(dir); err != nil {
		return node.Record{}, err
	}
	// The record comes last: a folder that has one is complete.
	for _, f := range []struct {
		name string
		b    []byte
	}{
		{"proof", bundle.Proof},
		{name + ".torrent", bundle.Torrent()},
		{"record.json", append(text, '\n')},
	} {
		if err := durable.Write(filepath.Join(dir, f.name), f.b, 0o644); err != nil {
			return node.Record{}, err
		}
	}
	return record, nil
}

func prepare(dir string, force bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read folder: %w", err)
	}
	if len(entries) > 0 && !force {
		return fmt.Errorf("folder %s %w and is not empty", dir, ErrExists)
	}
	return nil
}

// forget removes the description of a block whose rows were replaced: two that
// contradict each other are none.
func forget(dir string) error {
	record := filepath.Join(dir, "record.json")
	old, err := readRecord(record)
	if err != nil {
		return nil // none of ours
	}
	return errors.Join(
		ignoreMissing(os.Remove(filepath.Join(dir, old.Name+".torrent"))),
		ignoreMissing(os.Remove(record)),
	)
}

// writeRows writes content and parity under temporary names and gives them
// their own once both are on disk, so a full disk leaves nothing half-made.
func writeRows(ctx context.Context, in *Content, name, dir string, progress erasure.Progress) (_ erasure.Bundle, err error) {
	g, err := erasure.NewGeometry(in.Length())
	if err != nil {
		return erasure.Bundle{}, err
	}
	var made []*os.File
	defer func() {
		for _, f := range made {
			err = errors.Join(err, f.Close())
			if err != nil {
				err = errors.Join(err, ignoreMissing(os.Remove(f.Name())))
			}
		}
	}()
	for _, file := range []string{"content", "parity"} {
		f, err := os.CreateTemp(dir, "."+file+"-")
		if err != nil {
			return erasure.Bundle{}, err
		}
		made = append(made, f)
		if err := errors.Join(f.Chmod(0o644), f.Truncate(g.PaddedLength())); err != nil {
			return erasure.Bundle{}, err
		}
	}
	if _, err := io.Copy(made[0], io.NewSectionReader(in, 0, in.Length())); err != nil {
		return erasure.Bundle{}, err
	}
	if err := in.Unchanged(); err != nil {
		return erasure.Bundle{}, err
	}
	bundle, err := erasure.Commit(ctx, name, in.Length(), made[0], made[1], progress)
	if err != nil {
		return erasure.Bundle{}, err
	}
	for i, file := range []string{"content", "parity"} {
		if err := made[i].Sync(); err != nil {
			return erasure.Bundle{}, err
		}
		if err := os.Rename(made[i].Name(), filepath.Join(dir, file)); err != nil {
			return erasure.Bundle{}, err
		}
	}
	return bundle, durable.SyncDir(dir)
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
