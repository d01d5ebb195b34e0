package erasure_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"granary/erasure"
)

// lieVector is a block that its publisher made wrong: the rows of "five.bin" of
// blocks.json, one of them perhaps altered before the trees were made, and a
// proof vector that suits the publisher. All paths are right.
type lieVector struct {
	What        string `json:"what"`
	Row         int    `json:"row"`  // the altered row, -1 for none
	Flip        int    `json:"flip"` // the bit flipped in it
	ContentRoot string `json:"content_root"`
	ParityRoot  string `json:"parity_root"`
	Proof       string `json:"proof"`
	Refuse      []int  `json:"refuse"` // the rows whose combination is wrong
}

// lieLength is that of five.bin, five rows.
const lieLength = 5*16384 - 100

func refLieVectors() (all []lieVector) {
	honest := refCommit("five.bin", vectorContent(lieLength))
	for _, c := range []struct {
		what      string
		row, flip int
		own       bool // the proof vector is that of the rows, altered or not
		proofFlip int  // a bit of the proof vector, -1 for none
	}{
		{"no lie", -1, 0, false, -1},
		{"false content row", 2, 77777, false, -1},
		{"false parity row", 7, 0, false, -1},
		{"false content row with its own combination", 2, 77777, true, -1},
		{"proof vector off by its first bit", -1, 0, false, 0},
		{"proof vector off by its last bit", -1, 0, false, 5*128 - 1},
	} {
		b := refBlock{rows: append([][]byte{}, honest.rows...)}
		if c.row >= 0 {
			b.rows[c.row] = bytes.Clone(b.rows[c.row])
			b.rows[c.row][c.flip/8] ^= 1 << (c.flip % 8)
		}
		b = b.describe("five.bin", lieLength)
		combination := refCoefficients(5, lieLength, b.content, b.parity)
		if !c.own {
			for i, row := range honest.rows[:5] {
				b.y[i] = combination.of(row)
			}
		}
		if c.proofFlip >= 0 {
			b.y[c.proofFlip/128][c.proofFlip%128/8] ^= 1 << (c.proofFlip % 8)
		}
		v := lieVector{
			What: c.what, Row: c.row, Flip: c.flip, Refuse: []int{},
			ContentRoot: b.content.String(), ParityRoot: b.parity.String(),
			Proof: hex.EncodeToString(bytes.Join(b.y, nil)),
		}
		for row, want := range refExtend(b.y) {
			if !bytes.Equal(combination.of(b.rows[row]), want) {
				v.Refuse = append(v.Refuse, row)
			}
		}
		all = append(all, v)
	}
	return all
}

// refExtend is Enc(y): lanes are coded like the first symbols of rows.
func refExtend(y [][]byte) [][]byte {
	var rows [][]byte
	for _, element := range y {
		symbols := make([]uint16, 8192)
		for l := range 8 {
			symbols[l] = binary.LittleEndian.Uint16(element[2*l:])
		}
		rows = append(rows, refRow(symbols))
	}
	all := append([][]byte{}, y...)
	for _, row := range refParity(rows) {
		var element []byte
		for _, s := range refSymbols(row)[:8] {
			element = binary.LittleEndian.AppendUint16(element, s)
		}
		all = append(all, element)
	}
	return all
}

func TestLieVectors(t *testing.T) {
	stored := vectors(t, "lies.json", refLieVectors)
	same(t, "reference", refLieVectors(), stored)
	_, content, parity := commit(t, vectorContent(lieLength))
	for _, c := range stored {
		var (
			rows   = append(bytes.Clone(content), parity...)
			leaves []erasure.Root
		)
		if c.Row >= 0 {
			rows[c.Row*erasure.RowSize+c.Flip/8] ^= 1 << (c.Flip % 8)
		}
		for row := range 10 {
			leaves = append(leaves, erasure.LeafHash(rows[row*erasure.RowSize:][:erasure.RowSize]))
		}
		proof, err := hex.DecodeString(c.Proof)
		if err != nil {
			t.Fatal(err)
		}
		info := erasure.Info{
			Name: "five.bin", Length: lieLength, ProofHash: sha256.Sum256(proof),
			Content: erasure.FileRoot(leaves[:5]), Parity: erasure.FileRoot(leaves[5:]),
		}
		if info.Content.String() != c.ContentRoot || info.Parity.String() != c.ParityRoot {
			t.Errorf("%s: other roots", c.What)
		}
		v, err := erasure.NewVerifier(info, proof)
		if err != nil {
			t.Fatal(err)
		}
		layers := erasure.Layers{Content: leaves[:5], Parity: leaves[5:]} // a piece is a row
		refused := []int{}
		for row := range 10 {
			data := rows[row*erasure.RowSize:][:erasure.RowSize]
			path, err := erasure.RowPath(info.Geometry(), layers, row, data)
			if err != nil {
				t.Fatal(err)
			}
			switch got := reason(t, row, v.Row(row, data, path)); got {
			case "":
			case "combination":
				refused = append(refused, row)
			default:
				t.Errorf("%s: row %d refused for %q", c.What, row, got)
			}
		}
		same(t, c.What, refused, c.Refuse)
	}
}
