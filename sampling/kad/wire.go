package kad

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/multiformats/go-varint"

	"granary/erasure"
)

// Every message is one frame: an unsigned varint (multiformats, minimal), the
// length in bytes of the CBOR array that follows. See docs/spec/network.md.
const (
	maxInfo   = 4 << 10                        // a canonical info dictionary has under 700 bytes
	maxProof  = 16 * erasure.MaxContentRows    // 256 KiB
	maxLayers = 2 * erasure.MaxFilePieces * 32 // 32 KiB
	maxPath   = 14 * 32                        // 16,384 rows per file: 14 siblings of 32 bytes
	maxHeld   = 2 * erasure.MaxFilePieces / 8  // bitfield of 1,024 pieces
	maxChain  = 64                             // bytes of a chain ID

	maxRequest     = 256
	maxHelloReply  = 512
	maxRowReply    = erasure.RowSize + maxPath + 64
	maxBundleReply = maxInfo + maxProof + maxLayers + 64
)

// errWire reports bytes that are no message of the protocol. Which rule they
// break is of no use to anyone but the debugger of the peer that sent them.
var errWire = errors.New("not a message of this protocol")

// status opens every reply.
type status uint8

const (
	statusOK         status = 0
	statusNotHeld    status = 1
	statusBusy       status = 2 // too much asked at once: ask again later, or another
	statusPending    status = 3 // being fetched: will be held
	statusOtherChain status = 4 // the peers belong to different networks
	statusEnd        status = 5 // first value that means nothing
)

// message is a request or a reply that knows its own bounds.
type message interface{ valid() bool }

type helloRequest struct {
	_     struct{} `cbor:",toarray"`
	Chain string
	ID    []byte // of a block, or empty
}

func (m helloRequest) valid() bool {
	return len(m.Chain) <= maxChain && (len(m.ID) == 0 || len(m.ID) == len(erasure.ID{}))
}

type helloReply struct {
	_         struct{} `cbor:",toarray"`
	Status    status   // ok, busy, other chain
	Chain     string
	Torrent   uint16 // BitTorrent port, 0: none
	Custodian bool
	Extra     uint64 // groups kept beyond the rule, a GroupSet; 0 in version 1.0.0 and ignored
	Known     bool   // the block's bundle can be asked for
	Held      []byte // bitfield of the block's pieces, empty when unknown
}

func (m helloReply) valid() bool {
	return m.Status < statusEnd && len(m.Chain) <= maxChain && len(m.Held) <= maxHeld
}

type bundleRequest struct {
	_  struct{} `cbor:",toarray"`
	ID erasure.ID
}

func (m bundleRequest) valid() bool { return true }

type bundleReply struct {
	_      struct{} `cbor:",toarray"`
	Status status   // ok, not held, busy, pending
	Info   []byte   // canonical info dictionary
	Proof  []byte   // proof vector
	Layers []byte   // content hashes, then parity hashes
}

func (m bundleReply) valid() bool {
	if m.Status != statusOK {
		return m.Status < statusEnd && len(m.Info)+len(m.Proof)+len(m.Layers) == 0
	}
	return len(m.Info) <= maxInfo && len(m.Proof) <= maxProof && len(m.Layers) <= maxLayers
}

type rowRequest struct {
	_   struct{} `cbor:",toarray"`
	ID  erasure.ID
	Row uint32
}

func (m rowRequest) valid() bool { return m.Row < 2*erasure.MaxContentRows }

type rowReply struct {
	_      struct{} `cbor:",toarray"`
	Status status   // ok, not held, busy, pending
	Row    []byte   // RowSize bytes
	Path   []byte   // siblings from leaf to root, 32 bytes each
}

func (m rowReply) valid() bool {
	if m.Status != statusOK {
		return m.Status < statusEnd && len(m.Row)+len(m.Path) == 0
	}
	return len(m.Row) == erasure.RowSize && len(m.Path) <= maxPath && len(m.Path)%32 == 0
}

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

// encode returns the one encoding of m, without its frame.
func encode(m message) []byte {
	b, err := encMode.Marshal(m)
	if err != nil || !m.valid() {
		panic(fmt.Sprintf("BUG: %T cannot be sent: %v", m, err))
	}
	return b
}

// decode reads the one encoding of a valid M, or returns errWire. It keeps no
// reference to b.
func decode[M message](b []byte) (M, error) {
	var m, none M
	if err := decMode.Unmarshal(b, &m); err != nil || !m.valid() {
		return none, errWire
	}
	if again, err := encMode.Marshal(m); err != nil || !bytes.Equal(again, b) {
		return none, errWire
	}
	return m, nil
}

// writeFrame writes body behind its length, in one Write.
func writeFrame(w io.Writer, body []byte) error {
	frame := append(varint.ToUvarint(uint64(len(body))), body...)
	_, err := w.Write(frame)
	return err
}

// readFrame reads one frame of at most limit bytes. What follows it is left
// unread, up to what a small buffer took.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	br := bufio.NewReaderSize(r, 512)
	n, err := varint.ReadUvarint(br)
	if err != nil {
		return nil, fmt.Errorf("read length: %w", err)
	}
	if n > uint64(limit) {
		return nil, fmt.Errorf("%w: %d bytes, at most %d allowed", errWire, n, limit)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(br, body); err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	return body, nil
}
