package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/multiformats/go-varint"
)

// ErrMalformed reports bytes that are no message of the protocol. Which rule
// they break is of no use but to who debugs the peer that sent them.
var ErrMalformed = errors.New("malformed message")

// The modes are immutable. Nil slices are empty strings, never null, so that
// every message has one encoding.
var (
	encMode = must(cbor.EncOptions{
		Sort:          cbor.SortCoreDeterministic,
		IndefLength:   cbor.IndefLengthForbidden,
		TagsMd:        cbor.TagsForbidden,
		NilContainers: cbor.NilContainerAsEmpty,
	}.EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  4,
		MaxArrayElements: 16,
		MaxMapPairs:      16,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("BUG: CBOR mode: %v", err))
	}
	return v
}

// Encode returns the encoding of m, without its frame. m must be valid.
func Encode(m Message) []byte {
	if !m.Valid() {
		panic(fmt.Sprintf("BUG: invalid message %T", m))
	}
	b, err := encMode.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("BUG: encode %T: %v", m, err))
	}
	return b
}

// Decode reads the encoding of a valid M, or returns ErrMalformed. It keeps no
// reference to b.
func Decode[M Message](b []byte) (M, error) {
	var m, none M
	if err := decMode.Unmarshal(b, &m); err != nil || !m.Valid() {
		return none, ErrMalformed
	}
	// The decoder accepts longer forms of lengths and integers, and null.
	if again, err := encMode.Marshal(m); err != nil || !bytes.Equal(again, b) {
		return none, ErrMalformed
	}
	return m, nil
}

// WriteFrame writes body behind its length, in one Write.
func WriteFrame(w io.Writer, body []byte) error {
	_, err := w.Write(append(varint.ToUvarint(uint64(len(body))), body...))
	return err
}

// ReadFrame reads a frame and returns its body, of at most limit bytes:
// ErrMalformed if it is longer, or its length is no varint. It may read some of what follows.
func ReadFrame(r io.Reader, limit int) ([]byte, error) {
	br := bufio.NewReaderSize(r, 512)
	n, err := varint.ReadUvarint(br)
	if errors.Is(err, varint.ErrNotMinimal) || errors.Is(err, varint.ErrOverflow) {
		return nil, fmt.Errorf("%w: length: %w", ErrMalformed, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read length: %w", err)
	}
	if n > uint64(limit) {
		return nil, fmt.Errorf("%w: %d bytes, at most %d allowed", ErrMalformed, n, limit)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(br, body); err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	return body, nil
}
