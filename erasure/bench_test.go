package erasure_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"github.com/klauspost/reedsolomon"

	"granary/erasure"
)

// The figures that docs/performance.md quotes. Content is in memory, and
// throughput is that of content, whatever else is read, written or hashed.

const mib = 1 << 20

func sizeName(n int) string { return fmt.Sprintf("%dMiB", n/mib) }

// oneCore keeps the rest of b to one core.
func oneCore(b *testing.B) {
	before := runtime.GOMAXPROCS(1)
	b.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// warm makes the library's tables, once per process, outside of what is timed.
func warm(b *testing.B) { commit(b, []byte{1}) }

func benchmarkCommit(b *testing.B, content []byte, parity io.WriterAt) {
	warm(b)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := erasure.Commit(b.Context(), "a", int64(len(content)), bytes.NewReader(content), parity, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1 * mib, 64 * mib, 256 * mib} {
		b.Run(sizeName(n), func(b *testing.B) {
			benchmarkCommit(b, random(1, n), make(file, n))
		})
	}
}

func BenchmarkCommitOneCore(b *testing.B) {
	b.Run("64MiB", func(b *testing.B) {
		oneCore(b)
		benchmarkCommit(b, random(1, 64*mib), make(file, 64*mib))
	})
}

func BenchmarkCommitEra1(b *testing.B) {
	content, err := os.ReadFile("../testdata/sepolia-00000-643a00f7.era1")
	if err != nil {
		b.Fatal(err)
	}
	benchmarkCommit(b, content, nil)
}

// BenchmarkRoofline is the plain use of the two libraries on one core and
// nothing else: one call of the code over all rows, one hash of every row.
func BenchmarkRoofline(b *testing.B) {
	b.Run("64MiB", func(b *testing.B) {
		oneCore(b)
		const n = 64 * mib
		code, shards := leopard(b, random(1, n))
		b.SetBytes(n)
		b.ReportAllocs()
		for b.Loop() {
			if err := code.Encode(shards); err != nil {
				b.Fatal(err)
			}
			for _, row := range shards {
				sha256.Sum256(row)
			}
		}
	})
}

// leopard returns the code's library for content, and its rows, parity unset.
func leopard(b *testing.B, content []byte) (code reedsolomon.Encoder, rows [][]byte) {
	k := len(content) / erasure.RowSize
	code, err := reedsolomon.New(k, k, reedsolomon.WithLeopardGF16(true))
	if err != nil {
		b.Fatal(err)
	}
	memory := append(content, make([]byte, len(content))...)
	for ; len(memory) > 0; memory = memory[erasure.RowSize:] {
		rows = append(rows, memory[:erasure.RowSize:erasure.RowSize])
	}
	return code, rows
}

func BenchmarkDecode(b *testing.B) {
	const n = 64 * mib
	_, padded, parity := commit(b, random(1, n))
	g, _ := erasure.NewGeometry(n)
	half := make(map[int]bool)
	for _, row := range rand.New(rand.NewPCG(1, 2)).Perm(g.Rows())[:g.K()] {
		half[row] = true
	}
	for _, lost := range []struct {
		what string
		have func(row int) bool
	}{
		{"half", func(row int) bool { return half[row] }},
		{"one", func(row int) bool { return row != 5 }},
	} {
		b.Run(sizeName(n)+"/"+lost.what, func(b *testing.B) {
			b.SetBytes(n)
			b.ReportAllocs()
			out := make(file, len(padded))
			for b.Loop() {
				src := erasure.Source{Have: lost.have, Content: padded, Parity: parity}
				if err := erasure.Recover(b.Context(), g, src, out, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRepairRow and BenchmarkKlauspostReconstruct make the same lost row
// of parity, each on one core.
func BenchmarkRepairRow(b *testing.B) {
	b.Run("64MiB", func(b *testing.B) {
		oneCore(b)
		warm(b)
		const n = 64 * mib
		g, _ := erasure.NewGeometry(n)
		content, row := bytes.NewReader(random(1, n)), make([]byte, erasure.RowSize)
		b.SetBytes(n)
		b.ReportAllocs()
		for b.Loop() {
			if err := erasure.ParityRow(g, g.K()+5, content, row); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkKlauspostReconstruct(b *testing.B) {
	b.Run("64MiB", func(b *testing.B) {
		oneCore(b)
		const n = 64 * mib
		code, rows := leopard(b, random(1, n))
		if err := code.Encode(rows); err != nil {
			b.Fatal(err)
		}
		lost := len(rows)/2 + 5
		b.SetBytes(n)
		b.ReportAllocs()
		for b.Loop() {
			rows[lost] = rows[lost][:0] // keeps the room to rebuild it in
			if err := code.Reconstruct(rows); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// drawnRow is a row with all that its verification takes.
type drawnRow struct {
	number int
	data   []byte
	path   []erasure.Root
}

// bigBlock makes a block of 128 MiB and draws 97 of its rows: content rows,
// for which the work is that of any others.
func bigBlock(b *testing.B) (bundle erasure.Bundle, content file, rows []drawnRow) {
	bundle, content, _ = commit(b, random(1, 128*mib))
	g := bundle.Info.Geometry()
	for _, number := range rand.New(rand.NewPCG(1, 2)).Perm(g.K())[:97] {
		first, count := g.PieceSpan(g.PieceOf(number))
		piece := content[first*erasure.RowSize:][:count*erasure.RowSize]
		path, err := erasure.RowPath(g, bundle.Layers, number, piece)
		if err != nil {
			b.Fatal(err)
		}
		rows = append(rows, drawnRow{number, content[number*erasure.RowSize:][:erasure.RowSize], path})
	}
	return bundle, content, rows
}

func newVerifier(b *testing.B, bundle erasure.Bundle) *erasure.Verifier {
	v, err := erasure.NewVerifier(bundle.Info, bundle.Proof)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

func BenchmarkVerifyRow(b *testing.B) {
	bundle, _, rows := bigBlock(b)
	v := newVerifier(b, bundle)
	oneCore(b)
	b.SetBytes(erasure.RowSize)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		row := rows[i%len(rows)]
		if err := v.Row(row.number, row.data, row.path); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkVerifySample is all that a light client computes for one block: the
// verifier, which extends the proof vector, and 97 rows.
func BenchmarkVerifySample(b *testing.B) {
	bundle, _, rows := bigBlock(b)
	oneCore(b)
	b.SetBytes(int64(len(rows) * erasure.RowSize))
	b.ReportAllocs()
	for b.Loop() {
		v := newVerifier(b, bundle)
		for _, row := range rows {
			if err := v.Row(row.number, row.data, row.path); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkVerifyPiece(b *testing.B) {
	bundle, content, _ := bigBlock(b)
	v := newVerifier(b, bundle)
	g := bundle.Info.Geometry()
	oneCore(b)
	b.SetBytes(g.PieceLength())
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		piece := i % g.FilePieces()
		if err := v.Piece(bundle.Layers, piece, content[int64(piece)*g.PieceLength():][:g.PieceLength()]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// zeros is content without end.
type zeros struct{}

func (zeros) ReadAt(p []byte, off int64) (int, error) { clear(p); return len(p), nil }

var _ io.ReaderAt = zeros{}
