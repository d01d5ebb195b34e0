package blobstore_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"granary/blobstore"
	"granary/erasure"
)

// BenchmarkFsync is the floor: one write of a row and its fsync.
func BenchmarkFsync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "f"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	row := make([]byte, erasure.RowSize)
	b.SetBytes(erasure.RowSize)
	for i := int64(0); b.Loop(); i++ {
		if _, err := f.WriteAt(row, i%512*erasure.RowSize); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommitPiece writes and commits the pieces of a 64 MiB block, over
// and over in fresh stores, from callers at the same time.
func BenchmarkCommitPiece(b *testing.B) {
	e := encode(b, 70, 64<<20)
	n := e.Geometry().Pieces()
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			b.SetBytes(e.Geometry().PieceLength())
			b.ReportAllocs()
			var block *blobstore.Block
			for done := 0; done < b.N; done += n {
				b.StopTimer()
				block = put(b, open(b, b.TempDir(), blobstore.Config{}), e.Bundle)
				b.StartTimer()
				var next atomic.Int64
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for p := int(next.Add(1)) - 1; p < min(n, b.N-done); p = int(next.Add(1)) - 1 {
							if _, err := block.WritePieceAt(p, e.Piece(p), 0); err != nil {
								b.Error(err)
							}
							if err := block.CommitPiece(b.Context(), p); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
			}
		})
	}
}

func BenchmarkRow(b *testing.B) {
	e := encode(b, 71, 64<<20)
	s := open(b, b.TempDir(), blobstore.Config{})
	block, err := s.Import(b.Context(), "block", bytes.NewReader(e.Content), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(erasure.RowSize)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, _, err := block.Row(i * 997 % e.Geometry().Rows()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadPieceAt(b *testing.B) {
	e := encode(b, 72, 64<<20)
	s := open(b, b.TempDir(), blobstore.Config{})
	block, err := s.Import(b.Context(), "block", bytes.NewReader(e.Content), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(erasure.RowSize)
	b.ReportAllocs()
	b.ResetTimer() // RunParallel counts what came before
	b.RunParallel(func(pb *testing.PB) {
		row := make([]byte, erasure.RowSize)
		for i := 0; pb.Next(); i++ {
			if _, err := block.ReadPieceAt(i%e.Geometry().Pieces(), row, 0); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkImport and BenchmarkComplete include the encoding.
func BenchmarkImport(b *testing.B) {
	for _, size := range []int{1 << 20, 64 << 20} {
		b.Run(fmt.Sprintf("%dMiB", size>>20), func(b *testing.B) {
			data := content(73, size)
			s := open(b, b.TempDir(), blobstore.Config{})
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				block, err := s.Import(b.Context(), "block", bytes.NewReader(data), nil)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := s.Delete(b.Context(), block.ID()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
