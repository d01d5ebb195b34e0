package erasure

import (
	"crypto/sha256"
	"errors"
	"fmt"
)

var (
	// ErrLayers reports piece hashes that do not hash up to the block's roots,
	// or of which there are too many or too few.
	ErrLayers = errors.New("piece layers do not match the block")

	// ErrProof reports a proof vector that is not the one the ID commits to.
	ErrProof = errors.New("proof vector does not match the block")
)

// Layers holds the piece hashes of both files, FilePieces each: BEP 52's
// "piece layers". A file of a single piece has its root as its only hash here,
// though a torrent carries no layer for it.
type Layers struct{ Content, Parity []Root }

// Check returns ErrLayers unless the hashes lead to both roots of i.
func (l Layers) Check(i Info) error {
	g, err := NewGeometry(i.Length)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name  string
		layer []Root
		root  Root
	}{{"content", l.Content, i.Content}, {"parity", l.Parity, i.Parity}} {
		if len(f.layer) != g.FilePieces() {
			return fmt.Errorf("%w: %d %s hashes, want %d", ErrLayers, len(f.layer), f.name, g.FilePieces())
		}
		if layerRoot(g, f.layer, 0, nil) != f.root {
			return fmt.Errorf("%w: %s root", ErrLayers, f.name)
		}
	}
	return nil
}

// Piece returns the hash of piece p, 0 ≤ p < Pieces: content pieces first.
func (l Layers) Piece(p int) Root {
	if p < len(l.Content) {
		return l.Content[p]
	}
	return l.Parity[p-len(l.Content)]
}

// Encode returns the content's hashes, then the parity's, 32 bytes each.
func (l Layers) Encode() []byte {
	b := appendRoots(make([]byte, 0, 32*(len(l.Content)+len(l.Parity))), l.Content)
	return appendRoots(b, l.Parity)
}

// ParseLayers reads what Encode wrote for the block i and checks it; a wrong
// length or a wrong hash is ErrLayers. It keeps no reference to b.
func ParseLayers(i Info, b []byte) (Layers, error) {
	g, err := NewGeometry(i.Length)
	if err != nil {
		return Layers{}, err
	}
	if len(b) != g.Pieces()*len(Root{}) {
		return Layers{}, fmt.Errorf("%w: %d bytes, want %d", ErrLayers, len(b), g.Pieces()*len(Root{}))
	}
	cut := len(b) / 2
	l := Layers{Content: parseRoots(b[:cut]), Parity: parseRoots(b[cut:])}
	if err := l.Check(i); err != nil {
		return Layers{}, err
	}
	return l, nil
}

func appendRoots(b []byte, roots []Root) []byte {
	for _, r := range roots {
		b = append(b, r[:]...)
	}
	return b
}

func parseRoots(b []byte) []Root {
	roots := make([]Root, len(b)/len(Root{}))
	for i := range roots {
		copy(roots[i][:], b[i*len(Root{}):])
	}
	return roots
}

// Bundle is everything that describes a block. All of it verifies itself
// against the block's ID, so it may come from anybody.
type Bundle struct {
	Info   Info
	Proof  []byte // the proof vector, 16·K bytes; nil while unknown (a stock torrent client cannot tell it)
	Layers Layers
}

// Check returns nil if the info is valid, the layers lead to its roots, and
// the proof vector, unless it is nil, is the one it commits to. Compare
// Info.ID with the ID that was asked for as well. The error wraps ErrName,
// ErrLength, ErrProof or ErrLayers.
func (b Bundle) Check() error {
	if err := b.Info.Validate(); err != nil {
		return err
	}
	if b.Proof != nil {
		if err := checkProof(b.Info, b.Proof); err != nil {
			return err
		}
	}
	return b.Layers.Check(b.Info)
}

func checkProof(i Info, proof []byte) error {
	if want := i.Geometry().K() * elementSize; len(proof) != want {
		return fmt.Errorf("%w: %d bytes, want %d", ErrProof, len(proof), want)
	}
	if sha256.Sum256(proof) != i.ProofHash {
		return fmt.Errorf("%w: hash", ErrProof)
	}
	return nil
}
