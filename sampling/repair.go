package sampling

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"granary/erasure"
)

// ErrGone reports that nobody serves what is missing of a share.
var ErrGone = errors.New("nobody serves it")

const (
	// maxTurns bounds how many others a custodian lets go before it: who they
	// are is what they say.
	maxTurns = 8

	// moreTurns is over how many further slots those whose place is beyond that
	// are spread: they are not to begin all at once.
	moreTurns = 16
)

// Share is what one custodian owes of one block, for Custodian.Keep.
type Share interface {
	// Fetch gets what is missing from those who hold it. Its error wraps ErrGone
	// when nothing has come for the given time.
	Fetch(ctx context.Context, patience time.Duration) error
	// Rivals returns the IDs of the custodians that answer and say that they lack
	// a piece that is missing here too.
	Rivals(ctx context.Context) [][]byte
	// Rebuild gets any K rows, computes from them what is missing, and keeps no
	// more than is owed.
	Rebuild(ctx context.Context) error
}

// Custodian brings shares together, also of pieces whose last holder is gone.
type Custodian struct {
	ID       []byte        // peer ID
	Patience time.Duration // without a new row, until pieces count as gone
	Slot     time.Duration // that each of those before us has to rebuild them
}

// Keep returns once the share is held. What nobody serves, whatever they claim,
// any K rows give; but K rows are many times what is missing, so of all who
// lack a piece one rebuilds it, and the others fetch it from there: each waits
// for as many slots as there are custodians before it, by Turn; behind more
// than eight, for eight and a part of sixteen that its ID decides. When one of
// them fails, the next one's turn comes all the same.
//
// The error is that of the share, and wraps ErrGone where not even K rows are
// served. Keep may be called again.
func (c Custodian) Keep(ctx context.Context, id erasure.ID, s Share) error {
	err := s.Fetch(ctx, c.Patience)
	if !errors.Is(err, ErrGone) || ctx.Err() != nil {
		return err
	}
	if wait := c.wait(id, Turn(id, c.ID, s.Rivals(ctx))); wait > 0 {
		err = s.Fetch(ctx, wait)
		if !errors.Is(err, ErrGone) || ctx.Err() != nil {
			return err
		}
	}
	return s.Rebuild(ctx)
}

// wait is for how long c lets so many others go before it.
func (c Custodian) wait(id erasure.ID, turn int) time.Duration {
	if turn < maxTurns {
		return time.Duration(turn) * c.Slot
	}
	h := place(id, c.ID)
	part := binary.BigEndian.Uint16(h[len(h)-2:]) // the first bytes make the order
	return maxTurns*c.Slot + c.Slot*moreTurns/(1<<16)*time.Duration(part)
}

// Turn is how many of the others come before self when pieces of a block are to
// be rebuilt: those whose SHA-256("granary/repair/v1" ‖ ID ‖ peer ID) is
// smaller. So it is another one's turn with every block.
func Turn(id erasure.ID, self []byte, others [][]byte) int {
	own, n := place(id, self), 0
	for _, other := range others {
		if bytes.Compare(place(id, other), own) < 0 {
			n++
		}
	}
	return n
}

// place is where a peer stands in the order of those who rebuild a block.
func place(id erasure.ID, peer []byte) []byte {
	h := sha256.New()
	h.Write([]byte("granary/repair/v1"))
	h.Write(id[:])
	h.Write(peer)
	return h.Sum(nil)
}
