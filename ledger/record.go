package ledger

import (
	"bytes"
	"fmt"

	"granary/erasure"
)

const (
	// MaxKeep bounds how long a block can be kept from now on, in days: ten
	// years. Whoever wants more comes back.
	MaxKeep = 3650

	recordVersion = 1 // the block format that its ID is computed by
)

const (
	// MaxPeers is how many peers a record may name, and MaxPeerID how long a peer
	// ID may be in bytes: libp2p's have 34 to 42.
	MaxPeers  = 4
	MaxPeerID = 64
)

// Record is what a publisher signs and the ledger stores about a block.
type Record struct {
	Info      erasure.Info
	Keep      uint32    // days of 24 hours, 1 to MaxKeep
	Namespace string    // a name that the publisher owns; empty: the publisher's own key
	Peers     []PeerID  // whom to fetch from: at most MaxPeers, distinct, 1 to MaxPeerID bytes each
	Publisher PublicKey // the sender of the announcement; signing ignores it
}

// ID is the ID of the block: Info's. The record must be valid.
func (r Record) ID() erasure.ID { return r.Info.ID() }

// Cost is what announcing the record costs in credits, which are byte-days.
func (r Record) Cost() int64 { return r.Info.Length * int64(r.Keep) }

// Validate returns ErrMalformed if no transaction can carry the record.
func (r Record) Validate() error {
	if err := r.Info.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if r.Keep < 1 || r.Keep > MaxKeep {
		return malformed("keep of %d days, want 1 to %d", r.Keep, MaxKeep)
	}
	if r.Namespace != "" {
		if err := CheckName(r.Namespace); err != nil {
			return err
		}
	}
	if len(r.Peers) > MaxPeers {
		return malformed("%d peers, at most %d", len(r.Peers), MaxPeers)
	}
	for i, p := range r.Peers {
		if len(p) < 1 || len(p) > MaxPeerID {
			return malformed("peer ID of %d bytes", len(p))
		}
		for _, q := range r.Peers[:i] {
			if bytes.Equal(p, q) {
				return malformed("the same peer twice")
			}
		}
	}
	return nil
}

// recordBody is a record as it travels.
type recordBody struct {
	_         struct{} `cbor:",toarray"`
	Version   uint64
	ID        erasure.ID
	Name      string
	Length    int64
	Content   erasure.Root
	Parity    erasure.Root
	ProofHash Hash
	Keep      uint32
	Namespace string
	Peers     []PeerID
}

func (r Record) body() recordBody {
	return recordBody{
		Version: recordVersion, ID: r.ID(),
		Name: r.Info.Name, Length: r.Info.Length,
		Content: r.Info.Content, Parity: r.Info.Parity, ProofHash: r.Info.ProofHash,
		Keep: r.Keep, Namespace: r.Namespace, Peers: r.Peers,
	}
}

// parseRecord reads and checks a record; the publisher is not in its bytes.
func parseRecord(raw []byte, publisher PublicKey) (Record, error) {
	var b recordBody
	if err := unmarshal(raw, &b); err != nil {
		return Record{}, err
	}
	if b.Version != recordVersion {
		return Record{}, notYet("record version %d", b.Version)
	}
	r := Record{
		Info: erasure.Info{
			Name: b.Name, Length: b.Length,
			Content: b.Content, Parity: b.Parity, ProofHash: b.ProofHash,
		},
		Keep: b.Keep, Namespace: b.Namespace, Peers: b.Peers, Publisher: publisher,
	}
	if err := r.Validate(); err != nil {
		return Record{}, err
	}
	if r.ID() != b.ID {
		return Record{}, ErrID
	}
	return r, nil
}
