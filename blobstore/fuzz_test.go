package blobstore_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"granary/blobstore"
	"granary/blobstore/storetest"
	"granary/erasure"
)

// FuzzOpen opens a store whose every byte on disk comes from the fuzzer: none
// may crash it, and what it then says is held must verify, when the index did
// not come with its own word for it.
func FuzzOpen(f *testing.F) {
	e, err := storetest.NewEncoded(f.Context(), 60, 3*erasure.RowSize)
	if err != nil {
		f.Fatal(err)
	}
	name := e.ID().String()
	good := []byte{0, 0b1010_0100}
	f.Add(name, e.Bundle.Info.Encode(), e.Bundle.Proof, e.Bundle.Layers.Encode(), e.Files[0], good)
	f.Add(name, e.Bundle.Info.Encode(), e.Bundle.Proof, e.Bundle.Layers.Encode(), e.Files[0], []byte{})
	f.Add(name, e.Bundle.Info.Encode(), e.Bundle.Proof, e.Bundle.Layers.Encode(), e.Files[0], []byte("no entry"))
	f.Add(name, e.Bundle.Info.Encode(), []byte{}, []byte{}, []byte{}, []byte{1, 0xfc})
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
			"info": info, "proof": proof, "layers": layers, "content": content, "parity": e.Files[1],
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

// withSum returns an index entry with its checksum.
func withSum(key, entry []byte) []byte {
	sum := crc32.Checksum(append(bytes.Clone(key), entry...), crc32.MakeTable(crc32.Castagnoli))
	return binary.LittleEndian.AppendUint32(bytes.Clone(entry), sum)
}

// writeEntry makes an index with one raw entry, to which it adds the checksum,
// as docs/spec/store.md has it.
func writeEntry(t *testing.T, path string, key, entry []byte) {
	t.Helper()
	entry = withSum(key, entry)
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

// TestIndexEntryIsAsSpecified: the examples in docs/spec/store.md, and what the
// store writes.
func TestIndexEntryIsAsSpecified(t *testing.T) {
	id := make([]byte, 32)
	for i := range id {
		id[i] = byte(i)
	}
	spec, err := os.ReadFile("../docs/spec/store.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range [][]byte{{0, 0xa4}, {2, 0xa4, 0x10}} {
		if want := fmt.Sprintf("`% x`", withSum(id, entry)); !bytes.Contains(spec, []byte(want)) {
			t.Errorf("the specification has no %s", want)
		}
	}
	e := encode(t, 61, 3*erasure.RowSize)
	dir, _ := stored(t, e, 0, 2, 5)
	db, err := bbolt.Open(filepath.Join(dir, "index.db"), 0o644, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *bbolt.Tx) error {
		key := e.ID()
		if got, want := tx.Bucket([]byte("blocks")).Get(key[:]), withSum(key[:], []byte{0, 0xa4}); !bytes.Equal(got, want) {
			t.Errorf("entry % x, want % x", got, want)
		}
		return nil
	}); err != nil {
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
