package erasure

import (
	"context"
	"fmt"
	"io"
)

// Combination returns nil if data, RowSize bytes, has the combination that the
// proof vector gives row. It looks at no Merkle path, so it tells damaged rows
// from good ones but not from forged ones: whoever knows the coefficients can
// make any bytes fit. Use it for one's own copies, and CheckClean at the end.
func (v *Verifier) Combination(row int, data []byte) error {
	switch {
	case row < 0 || row >= v.g.Rows():
		return &RowError{Row: row, Reason: "index"}
	case len(data) != RowSize:
		return &RowError{Row: row, Reason: "length"}
	case v.coeff.combine(data) != v.y[row]:
		return &RowError{Row: row, Reason: "combination"}
	}
	return nil
}

// FileRoot returns the pieces root of a file whose rows hash to leaves: one of
// a block's two roots when leaves are the K of its content or of its parity.
// leaves must not be empty.
func FileRoot(leaves []Root) Root {
	g := Geometry{k: len(leaves)}
	return foldPadded(append([]Root(nil), leaves...), Root{}, g.Depth(), 0, nil)
}

// ProofVector returns the proof vector of content under i's roots, 16·K bytes:
// what Commit puts into a bundle, for whoever has the content and the roots but
// not the bundle. i.ProofHash is not looked at, nor whether content has these
// roots. Content is read once, and memory is bounded.
func ProofVector(ctx context.Context, i Info, content io.ReaderAt) ([]byte, error) {
	if err := i.Validate(); err != nil {
		return nil, err
	}
	g := i.Geometry()
	e := encoder{g: g, content: paddedReader{content, i.Length}, meter: &meter{total: g.PaddedLength()}}
	proof, err := e.proof(ctx, i.Content, i.Parity)
	if err != nil {
		return nil, fmt.Errorf("proof vector of %q: %w", i.Name, err)
	}
	return proof, nil
}
