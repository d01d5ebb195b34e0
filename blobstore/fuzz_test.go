package blobstore_test

import (
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"granary/blobstore"
	"granary/erasure"
)

// FuzzOpen opens a store whose every byte on disk comes from the fuzzer: none
// may crash it, and what it then says is held must verify, when the index did
// not come with its own word for it.
func FuzzOpen(f *testing.F) {
	e, err := newEncoded(f.Context(), 60, 3*erasure.RowSize)
	if err != nil {
		f.Fatal(err)
	}
	name := e.id().String()
	good := []byte{0, 0b1010_0100}
	f.Add(name, e.bundle.Info.Encode(), e.bundle.Proof, e.bundle.Layers.Encode(), e.files[0], good)
	f.Add(name, e.bundle.Info.Encode(), e.bundle.Proof, e.bundle.Layers.Encode(), e.files[0], []byte{})
	f.Add(name, e.bundle.Info.Encode(), e.bundle.Proof, e.bundle.Layers.Encode(), e.files[0], []byte("no entry"))
	f.Add(name, e.bundle.Info.Encode(), []byte{}, []byte{}, []byte{}, []byte{1, 0xfc})
	f.Add(name, []byte("de"), []byte{1}, []byte{2}, []byte{3}, []byte{2, 0xff})
	f.Add(".staging-7", []byte{}, []byte{}, []byte{}, []byte{}, []byte{9})
	f.Fuzz(func(t *testing.T, name string, info, proof, layers, content, entry []byte) {
		if name == "" || name != filepath.Base(name) || name == "." || name == ".." || len(name) > 200 {
			return
		}
		dir := t.TempDir()
		folder := filepath.Join(dir, "blocks", name)
		if os.MkdirAll(folder, 0o755) != nil {
			return // no name for this system
		}
		for file, data := range map[string][]byte{
			"info": info, "proof": proof, "layers": layers, "content": content, "parity": e.files[1],
		} {
			if err := os.WriteFile(filepath.Join(folder, file), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if key, err := hex.DecodeString(name); err == nil && len(entry) > 0 && len(key) > 0 {
			writeEntry(t, filepath.Join(dir, "index.db"), key, entry)
		}
		s, err := blobstore.Open(t.Context(), dir, blobstore.Config{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		defer s.Close()
		for _, b := range s.Blocks() {
			if b.ID().String() != name {
				t.Fatalf("block %s in folder %s", b.ID(), name)
			}
			bundle := b.Bundle()
			if len(bundle.Layers.Content) > 0 && bundle.Check() != nil {
				t.Errorf("bundle: %v", bundle.Check())
			}
			for r := range b.Geometry().Rows() {
				row, path, err := b.Row(r)
				if err != nil {
					continue
				}
				v, err := erasure.NewVerifier(bundle.Info, bundle.Proof)
				if err == nil {
					err = v.Row(r, row, path)
				}
				if err != nil {
					t.Errorf("row %d served and does not verify: %v", r, err)
				}
			}
			_ = b.Complete(t.Context(), nil)
		}
	})
}

// writeEntry makes an index with one raw entry, as docs/spec/store.md has it.
func writeEntry(t *testing.T, path string, key, entry []byte) {
	t.Helper()
	db, err := bbolt.Open(path, 0o644, &bbolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{"meta", "blocks", "notes", "deleted"} {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		if err := tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte{1, 0, 0, 0}); err != nil {
			return err
		}
		return tx.Bucket([]byte("blocks")).Put(key, entry)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "index.db")
	writeEntry(t, path, make([]byte, 32), []byte{0})
	db, err := bbolt.Open(path, 0o644, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte{2, 0, 0, 0})
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = blobstore.Open(t.Context(), dir, blobstore.Config{})
	wantErr(t, "open", err, blobstore.ErrSchema)
}
