package blobstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"granary/erasure"
)

// A state is what the index says about a block.
type state struct {
	held  erasure.PieceSet
	bad   erasure.PieceSet // quarantined: were held and found damaged; never held at once
	clean bool             // the block was found clean, which nothing can change

	dropped bool // pieces were dropped since all were held last, see Block.salvage
}

func newState(pieces int) state {
	return state{held: erasure.NewPieceSet(pieces), bad: erasure.NewPieceSet(pieces)}
}

// wholeState is that of a block whose pieces are all held and clean.
func wholeState(pieces int) state {
	return state{held: erasure.AllPieces(pieces), bad: erasure.NewPieceSet(pieces), clean: true}
}

func (st *state) hold(piece int) {
	st.held.Add(piece)
	st.bad.Remove(piece)
}

func (st *state) quarantine(pieces erasure.PieceSet) {
	for p := range pieces.All() {
		st.held.Remove(p)
		st.bad.Add(p)
	}
}

func (st *state) drop(pieces erasure.PieceSet) {
	st.dropped = true
	for p := range pieces.All() {
		st.held.Remove(p)
		st.bad.Remove(p)
	}
}

// The flags in the first byte of an entry.
const (
	flagClean = 1 << iota
	flagBad   // a second bitfield follows
	flagDropped
)

// encode returns the entry of block id. A checksum ends it: one altered bit
// would make us forget a piece, or claim one.
func (st state) encode(id erasure.ID) []byte {
	var flags byte
	if st.clean {
		flags |= flagClean
	}
	if st.bad.Count() > 0 {
		flags |= flagBad
	}
	if st.dropped {
		flags |= flagDropped
	}
	b := append([]byte{flags}, st.held.Bytes()...)
	if flags&flagBad != 0 {
		b = append(b, st.bad.Bytes()...)
	}
	return binary.LittleEndian.AppendUint32(b, entrySum(id, b))
}

// entrySum is the CRC-32C of an ID and its entry.
func entrySum(id erasure.ID, b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(id[:], table), table, b)
}

// parseState reads the entry of block id, of n pieces; the sets are copies.
func parseState(id erasure.ID, n int, b []byte) (state, error) {
	st := newState(n)
	size := len(st.held.Bytes())
	if len(b) < 1+size+4 || b[0] > flagClean|flagBad|flagDropped {
		return st, fmt.Errorf("%w: entry of %d bytes", errIndexDamaged, len(b))
	}
	b, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if entrySum(id, b) != sum {
		return st, fmt.Errorf("%w: checksum of an entry", errIndexDamaged)
	}
	var err error
	st.clean, st.dropped = b[0]&flagClean != 0, b[0]&flagDropped != 0
	bad := b[1+size:]
	if st.held, err = erasure.ParsePieceSet(n, b[1:1+size]); err != nil {
		return st, fmt.Errorf("%w: %w", errIndexDamaged, err)
	}
	if b[0]&flagBad == 0 && len(bad) == 0 {
		return st, nil
	}
	if st.bad, err = erasure.ParsePieceSet(n, bad); err != nil {
		return st, fmt.Errorf("%w: %w", errIndexDamaged, err)
	}
	for p := range st.bad.All() {
		if st.held.Has(p) {
			return st, fmt.Errorf("%w: piece %d is held and quarantined", errIndexDamaged, p)
		}
	}
	return st, nil
}
