package wire

import (
	"fmt"

	"granary/erasure"
)

const (
	maxInfo   = 4 << 10                        // a canonical info dictionary has under 700 bytes
	maxProof  = 16 * erasure.MaxContentRows    // 256 KiB
	maxLayers = 2 * erasure.MaxFilePieces * 32 // 32 KiB
	maxPath   = 14 * 32                        // 16,384 rows per file: 14 siblings of 32 bytes
	maxHeld   = 2 * erasure.MaxFilePieces / 8  // bitfield of 1,024 pieces

	// MaxChain bounds a chain ID in bytes.
	MaxChain = 64

	// Limits of message bodies in bytes; 64 are more than CBOR needs around
	// the strings.
	MaxRequest     = 256
	MaxHelloReply  = 512
	MaxBundleReply = maxInfo + maxProof + maxLayers + 64
	MaxRowReply    = erasure.RowSize + maxPath + 64
)

// Status is the first element of every reply.
type Status uint8

// The statuses of version 1.0.0 of all protocols.
const (
	OK         Status = 0
	NotHeld    Status = 1
	Busy       Status = 2 // too much asked at once: ask again later, or another
	Pending    Status = 3 // being fetched or completed: will be held
	OtherChain Status = 4 // the peers belong to different networks; in hellos only
)

// Message is a request or a reply. Valid reports whether its elements are
// within the bounds of the protocol; only then is it sent, or read.
type Message interface{ Valid() bool }

// HelloRequest asks a peer who it is.
type HelloRequest struct {
	_     struct{} `cbor:",toarray"`
	Chain string   // of the asking peer
	ID    []byte   // of the block asked about, or empty
}

// HelloReply says who a peer is, and what it holds of the block asked about.
type HelloReply struct {
	_         struct{} `cbor:",toarray"`
	Status    Status   // OK, Busy or OtherChain
	Chain     string   // of the serving peer, whatever the status
	Torrent   uint16   // BitTorrent port, 0: none
	Custodian bool
	Extra     uint64 // groups kept beyond the rule; 0, and ignored, in this version
	Known     bool   // the block's bundle can be asked for
	Held      []byte // bitfield of the block's pieces, empty when unknown
}

// BundleRequest asks for the description of a block.
type BundleRequest struct {
	_  struct{} `cbor:",toarray"`
	ID erasure.ID
}

// BundleReply describes a block.
type BundleReply struct {
	_      struct{} `cbor:",toarray"`
	Status Status   // any but OtherChain
	Info   []byte   // canonical info dictionary
	Proof  []byte   // proof vector
	Layers []byte   // content hashes, then parity hashes
}

// RowRequest asks for one row of a block.
type RowRequest struct {
	_   struct{} `cbor:",toarray"`
	ID  erasure.ID
	Row uint32
}

// RowReply is a row with its path, which prove themselves against the block.
type RowReply struct {
	_      struct{} `cbor:",toarray"`
	Status Status   // any but OtherChain
	Row    []byte   // RowSize bytes
	Path   []byte   // siblings from leaf to root, 32 bytes each
}

// Valid implements Message.
func (m HelloRequest) Valid() bool {
	return len(m.Chain) <= MaxChain && (len(m.ID) == 0 || len(m.ID) == len(erasure.ID{}))
}

// Valid implements Message.
func (m HelloReply) Valid() bool {
	switch m.Status {
	case OK:
		return len(m.Chain) <= MaxChain && len(m.Held) <= maxHeld
	case Busy, OtherChain:
		silent := m.Torrent == 0 && !m.Custodian && m.Extra == 0 && !m.Known && len(m.Held) == 0
		return len(m.Chain) <= MaxChain && silent
	}
	return false
}

// Valid implements Message.
func (m BundleRequest) Valid() bool { return true }

// Valid implements Message.
func (m BundleReply) Valid() bool {
	switch m.Status {
	case OK:
		return len(m.Info) <= maxInfo && len(m.Proof) <= maxProof && len(m.Layers) <= maxLayers
	case NotHeld, Busy, Pending:
		return len(m.Info)+len(m.Proof)+len(m.Layers) == 0
	}
	return false
}

// Valid implements Message.
func (m RowRequest) Valid() bool { return m.Row < 2*erasure.MaxContentRows }

// Valid implements Message.
func (m RowReply) Valid() bool {
	switch m.Status {
	case OK:
		return len(m.Row) == erasure.RowSize && len(m.Path) <= maxPath && len(m.Path)%32 == 0
	case NotHeld, Busy, Pending:
		return len(m.Row)+len(m.Path) == 0
	}
	return false
}

// Bundle returns the bundle in a reply of status OK if it is the complete
// description of the block id, proof included. It keeps m.Proof.
func (m BundleReply) Bundle(id erasure.ID) (erasure.Bundle, error) {
	info, err := erasure.ParseInfo(m.Info)
	if err != nil {
		return erasure.Bundle{}, err
	}
	if info.ID() != id {
		return erasure.Bundle{}, fmt.Errorf("describes block %s", info.ID().Short())
	}
	layers, err := erasure.ParseLayers(info, m.Layers)
	if err != nil {
		return erasure.Bundle{}, err
	}
	if len(m.Proof) == 0 {
		return erasure.Bundle{}, erasure.ErrProof // Bundle.Check would take it for an unknown one
	}
	b := erasure.Bundle{Info: info, Proof: m.Proof, Layers: layers}
	if err := b.Check(); err != nil {
		return erasure.Bundle{}, err
	}
	return b, nil
}

// Siblings returns the path of a row.
func (m RowReply) Siblings() []erasure.Root {
	path := make([]erasure.Root, len(m.Path)/32)
	for i := range path {
		path[i] = erasure.Root(m.Path[32*i:])
	}
	return path
}
