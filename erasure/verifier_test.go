package erasure_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"granary/erasure"
)

// specimen is a block with everything needed to ask for its rows.
type specimen struct {
	erasure.Bundle
	g    erasure.Geometry
	rows [][]byte
	v    *erasure.Verifier
}

func newSpecimen(t testing.TB, length int) specimen {
	t.Helper()
	b, padded, parity := commit(t, random(7, length))
	s := specimen{Bundle: b, g: b.Info.Geometry()}
	for _, f := range []file{padded, parity} {
		for i := range s.g.K() {
			s.rows = append(s.rows, f[i*erasure.RowSize:][:erasure.RowSize])
		}
	}
	var err error
	if s.v, err = erasure.NewVerifier(b.Info, b.Proof); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s specimen) piece(p int) []byte {
	first, count := s.g.PieceSpan(p)
	return bytes.Join(s.rows[first:first+count], nil)
}

func (s specimen) path(t testing.TB, row int) []erasure.Root {
	t.Helper()
	path, err := erasure.RowPath(s.g, s.Layers, row, s.piece(s.g.PieceOf(row)))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// reason returns why a row was refused, "" if it was not.
func reason(t testing.TB, row int, err error) string {
	t.Helper()
	var e *erasure.RowError
	if err == nil {
		return ""
	}
	if !errors.As(err, &e) || e.Row != row {
		t.Fatalf("row %d: error %v, want a RowError of it", row, err)
	}
	return e.Reason
}

func TestVerifierAcceptsEveryRowAndPiece(t *testing.T) {
	for _, k := range []int{1, 2, 3, 64, 511, 512, 513, 1025, 2050} {
		s := newSpecimen(t, k*erasure.RowSize-5)
		for row := range s.rows {
			if k > 512 && row%37 > 1 {
				continue
			}
			if err := s.v.Row(row, s.rows[row], s.path(t, row)); err != nil {
				t.Errorf("k = %d: %v", k, err)
			}
		}
		for p := range s.g.Pieces() {
			if err := s.v.Piece(s.Layers, p, s.piece(p)); err != nil {
				t.Errorf("k = %d: %v", k, err)
			}
		}
	}
}

// A large block's tree has pieces of several rows: compare it with the
// reference's, whose field arithmetic would take too long.
func TestPiecesOfSeveralRowsAgreeWithTheReference(t *testing.T) {
	for _, k := range []int{513, 1025, 2050} {
		s := newSpecimen(t, k*erasure.RowSize)
		var leaves []erasure.Root
		for _, row := range s.rows {
			leaves = append(leaves, sha256.Sum256(row))
		}
		width := 1 << s.g.Depth()
		if s.Info.Content != refTree(leaves[:k], width) || s.Info.Parity != refTree(leaves[k:], width) {
			t.Errorf("k = %d: wrong roots", k)
		}
		for p := range s.g.Pieces() {
			first, count := s.g.PieceSpan(p)
			want := refTree(leaves[first:first+count], s.g.PieceRows())
			if got, err := erasure.PieceHash(s.g, p, s.piece(p)); err != nil || got != want || s.Layers.Piece(p) != want {
				t.Errorf("k = %d, piece %d: %v, %v, want %v", k, p, got, err, want)
			}
		}
		for _, row := range []int{0, 1, 511, 512, k - 1, k, k + 1, 2*k - 1} {
			index, of := row, leaves[:k]
			if row >= k {
				index, of = row-k, leaves[k:]
			}
			if got, want := fmt.Sprint(s.path(t, row)), fmt.Sprint(refPath(of, width, index)); got != want {
				t.Errorf("k = %d: path of row %d is %v, want %v", k, row, got, want)
			}
		}
		dst := make([]byte, erasure.RowSize)
		for _, row := range []int{k, k + 300, 2*k - 1} {
			content := file(bytes.Join(s.rows[:k], nil))
			if err := erasure.ParityRow(s.g, row, content, dst); err != nil || !bytes.Equal(dst, s.rows[row]) {
				t.Errorf("k = %d: parity row %d differs from the Cauchy form, %v", k, row, err)
			}
		}
	}
}

func TestVerifierRejectsAnyFlippedBit(t *testing.T) {
	s := newSpecimen(t, 6*erasure.RowSize)
	random := rand.New(rand.NewPCG(5, 6))
	for row := range s.rows {
		path := s.path(t, row)
		for range 20 {
			bit := random.IntN(8 * erasure.RowSize)
			data := bytes.Clone(s.rows[row])
			data[bit/8] ^= 1 << (bit % 8)
			if got := reason(t, row, s.v.Row(row, data, path)); got != "path" {
				t.Errorf("row %d with bit %d flipped: reason %q", row, bit, got)
			}
		}
		for bit := range 256 * len(path) {
			path[bit/256][bit%256/8] ^= 1 << (bit % 8)
			if got := reason(t, row, s.v.Row(row, s.rows[row], path)); got != "path" {
				t.Errorf("row %d with bit %d of its path flipped: reason %q", row, bit, got)
			}
			path[bit/256][bit%256/8] ^= 1 << (bit % 8)
		}
	}
}

func TestVerifierRejectsWhatIsNotTheRow(t *testing.T) {
	s := newSpecimen(t, 6*erasure.RowSize)
	long := make([]byte, erasure.RowSize+1)
	for _, c := range []struct {
		what string
		row  int
		data []byte
		path []erasure.Root
		want string
	}{
		{"below the block", -1, s.rows[0], s.path(t, 0), "index"},
		{"beyond the block", 12, s.rows[11], s.path(t, 11), "index"},
		{"nothing", 0, nil, s.path(t, 0), "length"},
		{"a byte short", 0, s.rows[0][1:], s.path(t, 0), "length"},
		{"a byte long", 0, long, s.path(t, 0), "length"},
		{"its neighbour", 0, s.rows[1], s.path(t, 1), "path"},
		{"the neighbour's bytes", 0, s.rows[1], s.path(t, 0), "path"},
		{"the neighbour's path", 0, s.rows[0], s.path(t, 1), "path"},
		{"parity for content", 2, s.rows[8], s.path(t, 8), "path"},
		{"content for parity", 8, s.rows[2], s.path(t, 2), "path"},
		{"no path", 0, s.rows[0], nil, "path"},
		{"a short path", 0, s.rows[0], s.path(t, 0)[:2], "path"},
		{"a long path", 0, s.rows[0], append(s.path(t, 0), erasure.Root{}), "path"},
		{"padding as a row", 5, make([]byte, erasure.RowSize), s.path(t, 5), "path"},
	} {
		if got := reason(t, c.row, s.v.Row(c.row, c.data, c.path)); got != c.want {
			t.Errorf("%s: reason %q, want %q", c.what, got, c.want)
		}
	}
}

// In a block whose publisher put a false row into the tree, only that row's
// combination is wrong, and nothing else tells.
func TestVerifierRejectsRowsOutsideTheCode(t *testing.T) {
	const k, length = 5, 5 * erasure.RowSize
	honest := refCommit("a", random(1, length))
	for _, lie := range []int{0, 4, 5, 9} {
		b := refBlock{rows: append([][]byte{}, honest.rows...)}
		b.rows[lie] = bytes.Clone(b.rows[lie])
		b.rows[lie][4711] ^= 0x10
		b = b.describe("a", length)

		// The proof vector is that of the code word nearest by, as a liar who
		// wants most rows to verify would publish.
		y := append([][]byte{}, b.y...)
		if lie < k {
			y[lie] = refCoefficients(k, length, b.content, b.parity).of(honest.rows[lie])
		}
		proof := bytes.Join(y, nil)
		info := erasure.Info{Name: "a", Length: length, Content: b.content, Parity: b.parity, ProofHash: sha256.Sum256(proof)}
		v, err := erasure.NewVerifier(info, proof)
		if err != nil {
			t.Fatal(err)
		}
		l := erasure.Layers{Content: b.layers[0], Parity: b.layers[1]}
		for row, data := range b.rows {
			path, err := erasure.RowPath(info.Geometry(), l, row, data)
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			if row == lie {
				want = "combination"
			}
			if got := reason(t, row, v.Row(row, data, path)); got != want {
				t.Errorf("row %d false: row %d refused for %q, want %q", lie, row, got, want)
			}
			if got := reason(t, row, v.Piece(l, row, data)); got != want {
				t.Errorf("row %d false: piece %d refused for %q, want %q", lie, row, got, want)
			}
		}
	}
}

func TestVerifierRejectsWhatIsNotThePiece(t *testing.T) {
	s := newSpecimen(t, 513*erasure.RowSize)
	flipped := s.piece(3)
	flipped[20000] ^= 1
	last := s.g.Pieces() - 1
	for _, c := range []struct {
		what  string
		l     erasure.Layers
		piece int
		data  []byte
		want  string
	}{
		{"below the block", s.Layers, -1, s.piece(0), "index"},
		{"beyond the block", s.Layers, last + 1, s.piece(0), "index"},
		{"no layers", erasure.Layers{}, 0, s.piece(0), "index"},
		{"nothing", s.Layers, 0, nil, "length"},
		{"one row", s.Layers, 0, s.rows[0], "length"},
		{"two rows where one is left", s.Layers, last, s.piece(0), "length"},
		{"its neighbour", s.Layers, 0, s.piece(1), "hash"},
		{"a flipped bit", s.Layers, 3, flipped, "hash"},
	} {
		var e *erasure.PieceError
		if err := s.v.Piece(c.l, c.piece, c.data); !errors.As(err, &e) || e.Reason != c.want || e.Piece != c.piece {
			t.Errorf("%s: error %v, want reason %q", c.what, err, c.want)
		}
	}
}

func TestNewVerifierRejectsAnotherProof(t *testing.T) {
	s := newSpecimen(t, 3*erasure.RowSize)
	flipped := bytes.Clone(s.Proof)
	flipped[17] ^= 4
	for what, proof := range map[string][]byte{"none": nil, "short": s.Proof[1:], "long": append(s.Proof, 0), "flipped": flipped} {
		if _, err := erasure.NewVerifier(s.Info, proof); !errors.Is(err, erasure.ErrProof) {
			t.Errorf("%s: error %v, want ErrProof", what, err)
		}
	}
	info := s.Info
	info.Length = 0
	if _, err := erasure.NewVerifier(info, s.Proof); !errors.Is(err, erasure.ErrLength) {
		t.Errorf("no length: error %v", err)
	}
}

func TestVerifierServesManyGoroutines(t *testing.T) {
	s := newSpecimen(t, 20*erasure.RowSize)
	var wg sync.WaitGroup
	for row := range s.rows {
		path := s.path(t, row)
		wg.Go(func() {
			if err := s.v.Row(row, s.rows[row], path); err != nil {
				t.Error(err)
			}
			if err := s.v.Piece(s.Layers, row, s.rows[row]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestZeroContentHasOneRootAndStillTellsItsFilesApart(t *testing.T) {
	b, err := erasure.Commit(t.Context(), "zeros", 3*erasure.RowSize, zeros{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.Info.Content != b.Info.Parity {
		t.Error("the parity of zeros is not zeros")
	}
	v, err := erasure.NewVerifier(b.Info, b.Proof)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]byte, erasure.RowSize)
	for r := range 6 {
		path, err := erasure.RowPath(b.Info.Geometry(), b.Layers, r, row)
		if err != nil || v.Row(r, row, path) != nil {
			t.Errorf("row %d of zeros: %v", r, err)
		}
	}
}

func FuzzVerifierRow(f *testing.F) {
	s := newSpecimen(f, 5*erasure.RowSize)
	f.Add(0, s.rows[0], encodeRoots(s.path(f, 0)))
	f.Add(9, s.rows[9], encodeRoots(s.path(f, 9)))
	f.Add(10, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, row int, data, path []byte) {
		var roots []erasure.Root
		for ; len(path) >= 32; path = path[32:] {
			roots = append(roots, erasure.Root(path[:32]))
		}
		if s.v.Row(row, data, roots) == nil && !bytes.Equal(data, s.rows[row]) {
			t.Errorf("row %d forged", row)
		}
	})
}

func encodeRoots(roots []erasure.Root) (b []byte) {
	for _, r := range roots {
		b = append(b, r[:]...)
	}
	return b
}
