package erasure_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"granary/erasure"
)

func TestGeometry(t *testing.T) {
	for _, c := range []struct {
		length                          int64
		k, pieceRows, filePieces, depth int
	}{
		{1, 1, 1, 1, 0},
		{16384, 1, 1, 1, 0},
		{16385, 2, 1, 2, 1},
		{3 * 16384, 3, 1, 3, 2},
		{512 * 16384, 512, 1, 512, 9},
		{512*16384 + 1, 513, 2, 257, 10},
		{1024 * 16384, 1024, 2, 512, 10},
		{1025 * 16384, 1025, 4, 257, 11},
		{erasure.MaxLength, 16384, 32, 512, 14},
	} {
		g, err := erasure.NewGeometry(c.length)
		if err != nil {
			t.Fatal(err)
		}
		if g.Length() != c.length || g.K() != c.k || g.PieceRows() != c.pieceRows || g.FilePieces() != c.filePieces || g.Depth() != c.depth {
			t.Errorf("%d bytes: k %d, %d rows a piece, %d pieces, depth %d", c.length, g.K(), g.PieceRows(), g.FilePieces(), g.Depth())
		}
		if g.Rows() != 2*c.k || g.Pieces() != 2*c.filePieces || g.PaddedLength() != int64(c.k)*16384 || g.PieceLength() != int64(c.pieceRows)*16384 {
			t.Errorf("%d bytes: derived numbers are off", c.length)
		}
		next := 0 // the pieces cover the rows in order
		for p := range g.Pieces() {
			first, count := g.PieceSpan(p)
			if first != next || count < 1 || g.PieceOf(first) != p || g.PieceOf(first+count-1) != p {
				t.Errorf("%d bytes: piece %d is rows %d + %d", c.length, p, first, count)
			}
			next = first + count
		}
		if all := erasure.AllPieces(g.Pieces()); next != g.Rows() || g.RowsIn(all) != next {
			t.Errorf("%d bytes: pieces end at row %d", c.length, next)
		}
	}
	for _, length := range []int64{-1, 0, erasure.MaxLength + 1} {
		if _, err := erasure.NewGeometry(length); !errors.Is(err, erasure.ErrLength) {
			t.Errorf("%d bytes: error %v, want ErrLength", length, err)
		}
	}
}

func TestParseID(t *testing.T) {
	id := example().ID()
	for _, s := range []string{id.String(), strings.ToUpper(id.String())} {
		if got, err := erasure.ParseID(s); err != nil || got != id {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", id.String()[1:], id.String() + "0", "x" + id.String()[1:]} {
		if _, err := erasure.ParseID(s); err == nil {
			t.Errorf("%q is an ID", s)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add(example().ID().String())
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := erasure.ParseID(s); err == nil && !strings.EqualFold(id.String(), s) {
			t.Errorf("%q is %v", s, id)
		}
	})
}

func TestPieceSet(t *testing.T) {
	s := erasure.NewPieceSet(11)
	for _, p := range []int{0, 3, 8, 10, 3} {
		s.Add(p)
	}
	if got, want := slices.Collect(s.All()), []int{0, 3, 8, 10}; !slices.Equal(got, want) || s.Count() != 4 {
		t.Errorf("holds %v, want %v", got, want)
	}
	if s.Has(-1) || s.Has(11) || s.Has(16) || s.Has(1) || !s.Has(10) {
		t.Error("holds what it should not, or lacks what it should hold")
	}
	if want := []byte{0b1001_0000, 0b1010_0000}; !bytes.Equal(s.Bytes(), want) {
		t.Errorf("encoded as %08b, want %08b", s.Bytes(), want)
	}
	clone := s.Clone()
	clone.Remove(3)
	if !s.Has(3) || !s.Contains(clone) || clone.Contains(s) {
		t.Error("a clone is not independent")
	}
	clone.Union(s)
	if !clone.Contains(s) || !erasure.AllPieces(11).Contains(s) || erasure.AllPieces(11).Count() != 11 {
		t.Error("a union lacks pieces")
	}
	for _, bad := range [][]byte{nil, {0}, {0, 0, 0}, {0, 0b0001_0000}, {0, 1}} {
		if _, err := erasure.ParsePieceSet(11, bad); !errors.Is(err, erasure.ErrPieceSet) {
			t.Errorf("%08b is a set of 11 pieces", bad)
		}
	}
}

func FuzzParsePieceSet(f *testing.F) {
	f.Add(11, []byte{0x90, 0xA0})
	f.Fuzz(func(t *testing.T, n int, b []byte) {
		if n < 0 || n > 2*erasure.MaxFilePieces {
			return
		}
		s, err := erasure.ParsePieceSet(n, b)
		if err != nil {
			return
		}
		if !bytes.Equal(s.Bytes(), b) || len(slices.Collect(s.All())) != s.Count() {
			t.Errorf("%d pieces of %x are %x", n, b, s.Bytes())
		}
	})
}
