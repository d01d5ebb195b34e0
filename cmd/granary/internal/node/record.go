package node

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"granary/erasure"
)

// Record is the file record.json: a block in terms that people and scripts
// read. Rows counts content and parity; hashes are lower-case hex.
type Record struct {
	V           int    `json:"v"`
	ID          string `json:"id"`
	Name        string `json:"name"`
	Length      int64  `json:"length"`       // content, bytes
	Rows        int    `json:"rows"`         // 2k
	PieceLength int64  `json:"piece_length"` // bytes
	ContentRoot string `json:"content_root"`
	ParityRoot  string `json:"parity_root"`
	ProofHash   string `json:"proof_hash"`
	Magnet      string `json:"magnet"`
}

// NewRecord returns the record of a block.
func NewRecord(i erasure.Info) Record {
	g, id := i.Geometry(), i.ID()
	return Record{
		V: 1, ID: id.String(), Name: i.Name, Length: i.Length,
		Rows: g.Rows(), PieceLength: g.PieceLength(),
		ContentRoot: i.Content.String(), ParityRoot: i.Parity.String(),
		ProofHash: hex.EncodeToString(i.ProofHash[:]), Magnet: id.Magnet(),
	}
}

// ParseRecord reads a record.json and returns the info dictionary it stands
// for. Every field is checked: what is not derived from the others must be
// there, what is must agree. A contradiction is an erasure.ErrInfo.
func ParseRecord(raw []byte) (erasure.Info, error) {
	var r Record
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return erasure.Info{}, fmt.Errorf("%w: record.json: %w", erasure.ErrInfo, err)
	}
	i := erasure.Info{Name: r.Name, Length: r.Length}
	for _, f := range []struct {
		name, text string
		dst        []byte
	}{
		{"content_root", r.ContentRoot, i.Content[:]},
		{"parity_root", r.ParityRoot, i.Parity[:]},
		{"proof_hash", r.ProofHash, i.ProofHash[:]},
	} {
		b, err := hex.DecodeString(f.text)
		if err != nil || len(b) != len(f.dst) {
			return erasure.Info{}, fmt.Errorf("%w: record.json: %s is not %d hex digits", erasure.ErrInfo, f.name, 2*len(f.dst))
		}
		copy(f.dst, b)
	}
	if err := i.Validate(); err != nil {
		return erasure.Info{}, fmt.Errorf("%w: record.json: %w", erasure.ErrInfo, err)
	}
	if NewRecord(i) != r {
		return erasure.Info{}, fmt.Errorf("%w: record.json was altered: its fields give the ID %s, it says %s", erasure.ErrInfo, i.ID(), r.ID)
	}
	return i, nil
}
