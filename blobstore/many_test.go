package blobstore_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"go.etcd.io/bbolt"

	"granary/blobstore"
	"granary/erasure"
)

// many is the environment variable that makes TestMakeManyBlocks fill a home.
const many = "GRANARY_TEST_MANY" // N:DIR

// makeMany writes n whole blocks of 8 MiB and their index into dir, as
// docs/spec/store.md has them, with files that are all holes: nothing that reads
// no pieces can tell the difference.
func makeMany(t testing.TB, dir string, n int) {
	t.Helper()
	const k = 512
	db, err := bbolt.Open(filepath.Join(dir, "index.db"), 0o644, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	held := erasure.AllPieces(2 * k).Bytes()
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{"meta", "blocks", "notes", "deleted", "scrubs"} {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		if err := tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte{1, 0, 0, 0}); err != nil {
			return err
		}
		for i := range n {
			id, err := makeOne(filepath.Join(dir, "blocks"), uint64(i), k)
			if err != nil {
				return err
			}
			if err := tx.Bucket([]byte("blocks")).Put(id[:], withSum(id[:], append([]byte{1}, held...))); err != nil {
				return err
			}
			if err := tx.Bucket([]byte("notes")).Put(append(id[:], "own"...), []byte("pinned")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// makeOne writes the folder of one block whose layers and proof fit its ID.
func makeOne(blocks string, seed uint64, k int) (erasure.ID, error) {
	var layers erasure.Layers
	for i := range 2 * k {
		leaf := sha256.Sum256(binary.LittleEndian.AppendUint64(nil, seed<<16|uint64(i)))
		if i < k {
			layers.Content = append(layers.Content, leaf)
		} else {
			layers.Parity = append(layers.Parity, leaf)
		}
	}
	proof := content(seed, 16*k)
	info := erasure.Info{
		Name: fmt.Sprintf("block-%06d", seed), Length: int64(k) * erasure.RowSize,
		Content: erasure.FileRoot(layers.Content), Parity: erasure.FileRoot(layers.Parity), ProofHash: sha256.Sum256(proof),
	}
	id := info.ID()
	dir := filepath.Join(blocks, id.String())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return id, err
	}
	for name, data := range map[string][]byte{"info": info.Encode(), "proof": proof, "layers": layers.Encode(), "content": nil, "parity": nil} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return id, err
		}
		if data == nil {
			if err := os.Truncate(path, info.Length); err != nil {
				return id, err
			}
		}
	}
	return id, nil
}

// TestMakeManyBlocks fills a folder for measurements by hand:
// GRANARY_TEST_MANY=10000:DIR go test -run TestMakeManyBlocks ./blobstore
func TestMakeManyBlocks(t *testing.T) {
	count, dir, ok := bytes.Cut([]byte(os.Getenv(many)), []byte(":"))
	if !ok {
		count, dir = []byte("20"), []byte(t.TempDir())
	}
	n, err := strconv.Atoi(string(count))
	if err != nil {
		t.Fatal(err)
	}
	makeMany(t, string(dir), n)
	s := open(t, string(dir), blobstore.Config{})
	if got := len(s.Blocks()); got != n || len(s.Damaged()) > 0 {
		t.Fatalf("%d blocks, damaged %v", got, s.Damaged())
	}
	for _, b := range s.Blocks() {
		if err := b.Bundle().Check(); err != nil || !b.Whole() || b.Bundle().Proof == nil {
			t.Fatalf("%s: whole %v: %v", b.ID(), b.Whole(), err)
		}
	}
}

// BenchmarkOpen10000Blocks is what a start costs an archive of 80 GiB; live is
// the memory that the open store keeps.
func BenchmarkOpen10000Blocks(b *testing.B) {
	const n = 10_000
	dir := b.TempDir()
	makeMany(b, dir, n)
	b.ReportAllocs()
	var live uint64
	for b.Loop() {
		before := heap()
		s, err := blobstore.Open(b.Context(), dir, blobstore.Config{Quota: 1 << 40})
		if err != nil {
			b.Fatal(err)
		}
		if got := len(s.Blocks()); got != n {
			b.Fatalf("%d blocks", got)
		}
		b.StopTimer()
		live = heap() - before
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(live)/n, "live-B/block")
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
