package erasure_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"granary/erasure"
)

var update = flag.Bool("update", false, "write testdata/vectors anew, from the reference")

// vectors compares what the reference says now with the file of that name, or
// writes the file if -update is given.
func vectors[T any](t *testing.T, name string, reference func() T) (stored T) {
	t.Helper()
	path := filepath.Join("..", "testdata", "vectors", name)
	if *update {
		b, err := json.MarshalIndent(reference(), "", "\t")
		if err == nil {
			err = os.WriteFile(path, append(b, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &stored)
	}
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// same fails the test unless got and want have the same JSON.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if bytes.Equal(g, w) {
		return
	}
	at := 0 // where they part
	for at < min(len(g), len(w)) && g[at] == w[at] {
		at++
	}
	from := max(0, at-40)
	t.Errorf("%s: got …%.200s, want …%.200s", what, g[from:], w[from:])
}

// vectorContent is the content of the vectors, as testdata/vectors/README.md
// defines it.
func vectorContent(length int) []byte {
	seed := binary.LittleEndian.AppendUint64([]byte("granary/vectors/content"), uint64(length))
	return sha3.SumSHAKE128(seed, length)
}

type fieldVectors struct {
	Products [][3]string    `json:"products"` // a, b, a·b
	Inverses [][2]string    `json:"inverses"` // a, 1/a
	Cauchy   []cauchyMatrix `json:"cauchy"`
}

type cauchyMatrix struct {
	K    int        `json:"k"`
	Rows [][]string `json:"rows"` // parity row j, content row i
}

func symbol(v uint16) string { return fmt.Sprintf("%04x", v) }

func refField() (f fieldVectors) {
	for _, ab := range [][2]uint16{{0, 0}, {0, 0x1234}, {1, 0x1234}, {2, 2}, {2, 3}, {3, 3}, {4, 4}, {0x8000, 0x8000}, {0x1234, 0x5678}, {0xFFFF, 0xFFFF}, {0xABCD, 0x0001}, {0xDEAD, 0xBEEF}} {
		f.Products = append(f.Products, [3]string{symbol(ab[0]), symbol(ab[1]), symbol(refMul(ab[0], ab[1]))})
	}
	for _, a := range []uint16{1, 2, 3, 4, 0x00FF, 0x1234, 0x8000, 0xFFFF} {
		f.Inverses = append(f.Inverses, [2]string{symbol(a), symbol(refInv(a))})
	}
	for _, k := range []int{1, 2, 4, 5, 7} {
		matrix := cauchyMatrix{K: k}
		m := 1
		for m < k {
			m *= 2
		}
		for j := range k {
			var row []string
			for i := range k {
				row = append(row, symbol(refInv(uint16(j^(m+i)))))
			}
			matrix.Rows = append(matrix.Rows, row)
		}
		f.Cauchy = append(f.Cauchy, matrix)
	}
	return f
}

func TestFieldVectors(t *testing.T) {
	same(t, "reference", refField(), vectors(t, "field.json", refField))
}

type blockVector struct {
	Name         string `json:"name"`
	Length       int    `json:"length"`
	K            int    `json:"k"`
	PieceLength  int    `json:"piece_length"`
	ContentRoot  string `json:"content_root"`
	ParityRoot   string `json:"parity_root"`
	ParitySHA256 string `json:"parity_sha256"`
	StreamSHA256 string `json:"coefficients_sha256"`
	Proof        string `json:"proof,omitempty"` // where it is short
	ProofHash    string `json:"proof_hash"`
	LayersSHA256 string `json:"layers_sha256"`
	Info         string `json:"info"`
	ID           string `json:"id"`
	Magnet       string `json:"magnet"`
	Torrent      string `json:"torrent_sha256"`
}

// slowRows is how many rows make the reference too slow for every run: larger
// vectors are checked against it when they are written.
const slowRows = 50

var vectorBlocks = []struct {
	name   string
	length int
}{
	{"one", 1},
	{"almost a row", 16383},
	{"row", 16384},
	{"row and a byte", 16385},
	{"three.bin", 3 * 16384},
	{"four.bin", 4 * 16384},
	{"five.bin", 5*16384 - 100},
	{"sieben – семь – 七", 7*16384 - 1},
	{"hundred", 100*16384 - 12345},
	{"pieces of two rows", 513*16384 - 1},
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func refBlockVector(name string, length int) blockVector {
	b := refCommit(name, vectorContent(length))
	k := len(b.rows) / 2
	proof := bytes.Join(b.y, nil)
	v := blockVector{
		Name: name, Length: length, K: k, PieceLength: 16384 * b.pieces,
		ContentRoot: b.content.String(), ParityRoot: b.parity.String(),
		ParitySHA256: hexSHA256(bytes.Join(b.rows[k:], nil)),
		StreamSHA256: hexSHA256(refStream(k, length, b.content, b.parity)),
		ProofHash:    hexSHA256(proof),
		LayersSHA256: hexSHA256(append(encodeRoots(b.layers[0]), encodeRoots(b.layers[1])...)),
		Info:         hex.EncodeToString(b.info),
		ID:           b.id.String(),
		Magnet:       "magnet:?xt=urn:btmh:1220" + b.id.String(),
	}
	if k < 10 {
		v.Proof = hex.EncodeToString(proof)
	}
	layers := make(map[string]any)
	if k > 1 {
		layers[string(b.content[:])] = string(encodeRoots(b.layers[0]))
		layers[string(b.parity[:])] = string(encodeRoots(b.layers[1]))
	}
	v.Torrent = hexSHA256([]byte("d4:info" + string(b.info) + "12:piece layers" + refBencode(layers) + "e"))
	return v
}

func TestBlockVectors(t *testing.T) {
	stored := vectors(t, "blocks.json", func() (all []blockVector) {
		for _, c := range vectorBlocks {
			all = append(all, refBlockVector(c.name, c.length))
		}
		return all
	})
	if len(stored) != len(vectorBlocks) {
		t.Fatalf("%d vectors, want %d", len(stored), len(vectorBlocks))
	}
	for i, want := range stored {
		if c := vectorBlocks[i]; want.K < slowRows {
			same(t, "reference", refBlockVector(c.name, c.length), want)
		}
		parity := make(file, want.K*erasure.RowSize)
		b, err := erasure.Commit(t.Context(), want.Name, int64(want.Length), bytes.NewReader(vectorContent(want.Length)), parity, nil)
		if err != nil {
			t.Fatal(err)
		}
		g := b.Info.Geometry()
		got := blockVector{
			Name: b.Info.Name, Length: int(b.Info.Length), K: g.K(), PieceLength: int(g.PieceLength()),
			ContentRoot: b.Info.Content.String(), ParityRoot: b.Info.Parity.String(),
			ParitySHA256: hexSHA256(parity),
			StreamSHA256: want.StreamSHA256, // inside the package; the proof depends on all of it
			ProofHash:    hex.EncodeToString(b.Info.ProofHash[:]),
			LayersSHA256: hexSHA256(b.Layers.Encode()),
			Info:         hex.EncodeToString(b.Info.Encode()),
			ID:           b.Info.ID().String(),
			Magnet:       b.Info.ID().Magnet(),
			Torrent:      hexSHA256(b.Torrent()),
		}
		if want.Proof != "" {
			got.Proof = hex.EncodeToString(b.Proof)
		}
		same(t, "package", got, want)
	}
}

// rowVector is a row of the block "five.bin" of blocks.json, perhaps altered.
type rowVector struct {
	What   string   `json:"what"`
	Ask    int      `json:"ask"`              // the row that was asked for
	Bytes  int      `json:"bytes"`            // the row whose bytes came
	Flip   int      `json:"flip"`             // the bit flipped in them, -1 for none
	Cut    int      `json:"cut"`              // bytes cut off their end
	Path   []string `json:"path"`             // as it came
	Refuse string   `json:"refuse,omitempty"` // why it is refused
}

func refRowVectors() (all []rowVector) {
	b := refCommit("five.bin", vectorContent(5*16384-100))
	var leaves []erasure.Root
	for _, row := range b.rows {
		leaves = append(leaves, sha256.Sum256(row))
	}
	path := func(row int) (p []string) {
		of, index := leaves[:5], row
		if row >= 5 {
			of, index = leaves[5:], row-5
		}
		for _, r := range refPath(of, 8, index) {
			p = append(p, r.String())
		}
		return p
	}
	for row := range b.rows {
		all = append(all, rowVector{What: "a row", Ask: row, Bytes: row, Flip: -1, Path: path(row)})
	}
	return append(all,
		rowVector{What: "first bit flipped", Ask: 0, Bytes: 0, Flip: 0, Path: path(0), Refuse: "path"},
		rowVector{What: "last bit flipped", Ask: 9, Bytes: 9, Flip: 8*16384 - 1, Path: path(9), Refuse: "path"},
		rowVector{What: "one byte short", Ask: 4, Bytes: 4, Flip: -1, Cut: 1, Path: path(4), Refuse: "length"},
		rowVector{What: "padding cut off", Ask: 4, Bytes: 4, Flip: -1, Cut: 100, Path: path(4), Refuse: "length"},
		rowVector{What: "another row, its path", Ask: 1, Bytes: 2, Flip: -1, Path: path(2), Refuse: "path"},
		rowVector{What: "another row", Ask: 1, Bytes: 2, Flip: -1, Path: path(1), Refuse: "path"},
		rowVector{What: "parity for content", Ask: 1, Bytes: 6, Flip: -1, Path: path(6), Refuse: "path"},
		rowVector{What: "path of one level less", Ask: 3, Bytes: 3, Flip: -1, Path: path(3)[:2], Refuse: "path"},
		rowVector{What: "beyond the block", Ask: 10, Bytes: 9, Flip: -1, Path: path(9), Refuse: "index"},
	)
}

func TestRowVectors(t *testing.T) {
	stored := vectors(t, "rows.json", refRowVectors)
	same(t, "reference", refRowVectors(), stored)
	content := vectorContent(5*16384 - 100)
	b, padded, parity := commit(t, content)
	b.Info.Name = "five.bin"
	v, err := erasure.NewVerifier(b.Info, b.Proof)
	if err != nil {
		t.Fatal(err)
	}
	rows := append(bytes.Clone(padded), parity...)
	for _, c := range stored {
		row := bytes.Clone(rows[c.Bytes*erasure.RowSize:][:erasure.RowSize-c.Cut])
		if c.Flip >= 0 {
			row[c.Flip/8] ^= 1 << (c.Flip % 8)
		}
		var path []erasure.Root
		for _, s := range c.Path {
			id, err := erasure.ParseID(s)
			if err != nil {
				t.Fatal(err)
			}
			path = append(path, erasure.Root(id))
		}
		if got := reason(t, c.Ask, v.Row(c.Ask, row, path)); got != c.Refuse {
			t.Errorf("%s: row %d refused for %q, want %q", c.What, c.Ask, got, c.Refuse)
		}
	}
}

type nameVector struct {
	Hex  string `json:"hex"`  // the name's bytes
	Text string `json:"text"` // the same for people, quoted as in Go
	OK   bool   `json:"ok"`
}

func TestNameVectors(t *testing.T) {
	list := func() (all []nameVector) {
		for _, name := range goodNames {
			all = append(all, nameVector{hex.EncodeToString([]byte(name)), strconv.QuoteToASCII(name), true})
		}
		for _, name := range badNames {
			all = append(all, nameVector{hex.EncodeToString([]byte(name)), strconv.QuoteToASCII(name), false})
		}
		return all
	}
	stored := vectors(t, "names.json", list)
	same(t, "list", list(), stored)
	for _, c := range stored {
		name, err := hex.DecodeString(c.Hex)
		if err != nil {
			t.Fatal(err)
		}
		if err := erasure.CheckName(string(name)); (err == nil) != c.OK || (err != nil && !errors.Is(err, erasure.ErrName)) {
			t.Errorf("%q: %v, want accepted: %v", name, err, c.OK)
		}
	}
}
