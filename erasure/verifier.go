package erasure

import "fmt"

// RowError reports a row that does not belong to the block. The peer that sent
// it is faulty, or the publisher is if Reason is "combination": drop the row
// and do not ask the same peer again.
type RowError struct {
	Row    int    // as asked for
	Reason string // "length", "index", "path" or "combination"
}

// Error implements error.
func (e *RowError) Error() string { return fmt.Sprintf("row %d: wrong %s", e.Row, e.Reason) }

// PieceError reports bytes that are not the piece they are said to be.
type PieceError struct {
	Piece  int    // as asked for
	Reason string // "length", "index" or "hash"
}

// Error implements error.
func (e *PieceError) Error() string { return fmt.Sprintf("piece %d: wrong %s", e.Piece, e.Reason) }

// Verifier decides whether rows belong to one block: both to its Merkle roots
// and, by their combination, to its code. It never changes once made, takes
// 1.3 MiB at most, and serves any number of goroutines.
type Verifier struct {
	info  Info
	g     Geometry
	coeff *coefficients
	y     []element // the combination of every row, parity included: Enc(proof)
}

// bulkRows is from how many content rows on a block's pieces are checked with
// the code library's tables, unless assembly does without. Making them takes some 200 ms of one core, checking
// all rows of a block of this size without them about as much.
const bulkRows = 1024

// NewVerifier returns the verifier of the block i, whose proof vector is
// proof. It returns ErrProof if that has the wrong length or hash, and the
// error of i.Validate. It keeps no reference to proof.
func NewVerifier(i Info, proof []byte) (*Verifier, error) {
	if err := i.Validate(); err != nil {
		return nil, err
	}
	if err := checkProof(i, proof); err != nil {
		return nil, err
	}
	g := i.Geometry()
	return &Verifier{
		info:  i,
		g:     g,
		coeff: deriveCoefficients(g, i.Content, i.Parity),
		y:     field().extend(parseElements(proof)),
	}, nil
}

// Row returns nil if data is row number row of the block and path its Merkle
// path, leaf to root: a verified row. Otherwise it returns a *RowError.
func (v *Verifier) Row(row int, data []byte, path []Root) error {
	index, root := row, v.info.Content
	if row >= v.g.K() {
		index, root = row-v.g.K(), v.info.Parity
	}
	switch {
	case row < 0 || row >= v.g.Rows():
		return &RowError{Row: row, Reason: "index"}
	case len(data) != RowSize:
		return &RowError{Row: row, Reason: "length"}
	// BEP 52 does not tell leaves from nodes; fixing the depth does.
	case len(path) != v.g.Depth() || pathRoot(LeafHash(data), index, path) != root:
		return &RowError{Row: row, Reason: "path"}
	case v.coeff.combine(data) != v.y[row]:
		return &RowError{Row: row, Reason: "combination"}
	}
	return nil
}

// Piece returns nil if data is the whole piece of the block and each of its
// rows has the right combination. l must have passed Check. It returns a
// *PieceError if the piece does not hash to its place in l, and a *RowError
// for the first row whose combination is wrong.
//
// It is for those who hold blocks. On processors for which we have no assembly
// it checks rows of blocks of bulkRows content rows and more by tables of 74 MiB
// that the process makes once, on first use, and needs for decoding anyway. A
// process that only holds smaller blocks never makes them.
func (v *Verifier) Piece(l Layers, piece int, data []byte) error {
	if piece < 0 || piece >= v.g.Pieces() || v.g.Pieces() != len(l.Content)+len(l.Parity) {
		return &PieceError{Piece: piece, Reason: "index"}
	}
	first, count := v.g.PieceSpan(piece)
	if len(data) != count*RowSize {
		return &PieceError{Piece: piece, Reason: "length"}
	}
	hash, err := PieceHash(v.g, piece, data)
	if err != nil {
		return err
	}
	if hash != l.Piece(piece) {
		return &PieceError{Piece: piece, Reason: "hash"}
	}
	y := make([]element, count)
	if hasFoldRow || v.g.K() >= bulkRows {
		v.coeff.combineBulk(y, data)
	} else {
		v.coeff.combineEach(y, data)
	}
	for i := range y {
		if y[i] != v.y[first+i] {
			return &RowError{Row: first + i, Reason: "combination"}
		}
	}
	return nil
}
