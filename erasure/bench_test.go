package erasure_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"granary/erasure"
)

var sizes = []int{1 << 20, 3 << 20, 64 << 20}

func sizeName(n int) string { return fmt.Sprintf("%dMiB", n>>20) }

func BenchmarkCommit(b *testing.B) {
	for _, n := range sizes {
		content, parity := random(1, n), make(file, n)
		b.Run(sizeName(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := erasure.Commit(b.Context(), "a", int64(n), bytes.NewReader(content), parity, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCommitEra1(b *testing.B) {
	content, err := os.ReadFile("../testdata/sepolia-00000-643a00f7.era1")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := erasure.Commit(b.Context(), "a", int64(len(content)), bytes.NewReader(content), nil, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecover(b *testing.B) {
	for _, n := range sizes {
		content := random(1, n)
		_, padded, parity := commit(b, content)
		g, _ := erasure.NewGeometry(int64(n))
		half := make(map[int]bool)
		for _, row := range rand.New(rand.NewPCG(1, 2)).Perm(g.Rows())[:g.K()] {
			half[row] = true
		}
		for _, c := range []struct {
			what string
			have func(row int) bool
		}{
			{"half", func(row int) bool { return half[row] }},
			{"parity", func(row int) bool { return row >= g.K() }},
			{"lost1", func(row int) bool { return row != 5 }},
		} {
			b.Run(sizeName(n)+"/"+c.what, func(b *testing.B) {
				b.SetBytes(int64(n))
				b.ReportAllocs()
				out := make(file, len(padded))
				for b.Loop() {
					src := erasure.Source{Have: c.have, Content: padded, Parity: parity}
					if err := erasure.Recover(b.Context(), g, src, out, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkVerifier(b *testing.B) {
	for _, n := range []int{3 << 20, 64 << 20, 256 << 20} {
		bundle, err := erasure.Commit(b.Context(), "a", int64(n), zeros{}, nil, nil)
		if err != nil {
			b.Fatal(err)
		}
		g := bundle.Info.Geometry()
		_, count := g.PieceSpan(0)
		piece := make([]byte, count*erasure.RowSize)
		path, err := erasure.RowPath(g, bundle.Layers, 0, piece)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(sizeName(n)+"/new", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := erasure.NewVerifier(bundle.Info, bundle.Proof); err != nil {
					b.Fatal(err)
				}
			}
		})
		v, _ := erasure.NewVerifier(bundle.Info, bundle.Proof)
		b.Run(sizeName(n)+"/row", func(b *testing.B) {
			b.SetBytes(erasure.RowSize)
			b.ReportAllocs()
			for b.Loop() {
				if err := v.Row(0, piece[:erasure.RowSize], path); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(sizeName(n)+"/piece", func(b *testing.B) {
			b.SetBytes(int64(len(piece)))
			b.ReportAllocs()
			for b.Loop() {
				if err := v.Piece(bundle.Layers, 0, piece); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// zeros is content without end.
type zeros struct{}

func (zeros) ReadAt(p []byte, off int64) (int, error) { clear(p); return len(p), nil }

var _ io.ReaderAt = zeros{}
