package node

import (
	"errors"
	"fmt"

	"granary/blobstore"
	"granary/erasure"
	"granary/sampling/kad"
)

// source answers the requests of other nodes from the store.
type source struct{ n *Node }

var _ kad.Source = source{}

// block returns a stored block that others may be served of.
func (s source) block(id erasure.ID) (*blobstore.Block, error) {
	if !s.n.serves(id) {
		return nil, errors.New("not served now")
	}
	b, err := s.n.store.Block(id)
	if err == nil && s.n.denies(b) {
		return nil, errors.New("not served here")
	}
	return b, err
}

// Bundle returns the block's description once its proof vector is known.
func (s source) Bundle(id erasure.ID) (erasure.Bundle, error) {
	b, err := s.block(id)
	if err != nil {
		return erasure.Bundle{}, fmt.Errorf("%w: %w", kad.ErrNotHeld, err)
	}
	if b.Bundle().Proof == nil {
		return erasure.Bundle{}, fmt.Errorf("%w: the proof vector of %s is not known yet", kad.ErrNotHeld, id.Short())
	}
	return b.Bundle(), nil
}

// Row returns a verified row with its Merkle path.
func (s source) Row(id erasure.ID, row int) ([]byte, []erasure.Root, error) {
	b, err := s.block(id)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", kad.ErrNotHeld, err)
	}
	if f, ok := s.n.face(b).(face); ok && row >= 0 && row < b.Geometry().Rows() && f.missing(b.Geometry().PieceOf(row)) {
		s.n.parity.order(b, forRows)
		return nil, nil, fmt.Errorf("%w: parity is being computed", kad.ErrPending)
	}
	data, path, err := b.Row(row)
	if errors.Is(err, blobstore.ErrNotHeld) {
		return nil, nil, fmt.Errorf("%w: %w", kad.ErrNotHeld, err)
	}
	return data, path, err
}

// Held returns the pieces that are verified, fsynced and indexed, and the parity
// that can be computed from these.
func (s source) Held(id erasure.ID) erasure.PieceSet {
	b, err := s.block(id)
	if err != nil {
		return erasure.PieceSet{}
	}
	if s.n.cfg.Faults.Corrupt {
		return erasure.AllPieces(b.Geometry().Pieces())
	}
	if f, ok := s.n.face(b).(face); ok {
		return f.Held()
	}
	return b.Held()
}
