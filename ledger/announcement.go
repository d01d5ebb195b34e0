package ledger

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"

	"granary/erasure"
)

const (
	// MaxAnnouncement is the longest message that is looked at, in bytes.
	MaxAnnouncement = 4 << 10

	// MaxPeers is how many peers an announcement may name, and MaxPeerID how
	// long a peer ID may be in bytes: libp2p's have 34 to 42.
	MaxPeers  = 4
	MaxPeerID = 64

	// MaxChainID is the longest chain ID in bytes: one byte counts it.
	MaxChainID = 255

	announcementVersion = 1
	announcementDomain  = "granary/announce/v1"
)

// What callers branch on.
var (
	// ErrMalformed reports bytes that are no message, or values outside the rules.
	ErrMalformed = errors.New("malformed message")

	// ErrSignature reports a message that its publisher did not sign for this chain.
	ErrSignature = errors.New("signature does not match")
)

// Announcement is a publisher's signed word that a block exists. The block's ID
// is Info.ID().
type Announcement struct {
	Info      erasure.Info
	Peers     [][]byte          // libp2p peer IDs to fetch from: at most 4, distinct, 1 to 64 bytes each
	Publisher ed25519.PublicKey // 32 bytes
}

// envelope is what travels: a body and the signature over it.
type envelope struct {
	_         struct{} `cbor:",toarray"`
	Body      []byte
	Signature []byte
}

// announcementBody is what is signed. Keys 8 and up are left to the announce
// transaction.
type announcementBody struct {
	Version   uint64   `cbor:"0,keyasint"`
	Name      string   `cbor:"1,keyasint"`
	Length    int64    `cbor:"2,keyasint"`
	Content   []byte   `cbor:"3,keyasint"`
	Parity    []byte   `cbor:"4,keyasint"`
	ProofHash []byte   `cbor:"5,keyasint"`
	Peers     [][]byte `cbor:"6,keyasint"`
	Publisher []byte   `cbor:"7,keyasint"`
}

// Sign returns the announcement as a message for the network with the given
// chain ID, signed by key, whose public key becomes the Publisher. It returns
// ErrMalformed for values that ParseAnnouncement would reject.
func (a Announcement) Sign(chain string, key ed25519.PrivateKey) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("%w: private key of %d bytes", ErrMalformed, len(key))
	}
	a.Publisher = key.Public().(ed25519.PublicKey)
	if err := a.check(); err != nil {
		return nil, err
	}
	body, err := encoder.Marshal(announcementBody{
		Version: announcementVersion,
		Name:    a.Info.Name, Length: a.Info.Length,
		Content: a.Info.Content[:], Parity: a.Info.Parity[:], ProofHash: a.Info.ProofHash[:],
		Peers: a.Peers, Publisher: a.Publisher,
	})
	if err != nil {
		return nil, fmt.Errorf("encode announcement: %w", err)
	}
	signed, err := signedBytes(announcementDomain, chain, body)
	if err != nil {
		return nil, err
	}
	return encoder.Marshal(envelope{Body: body, Signature: ed25519.Sign(key, signed)})
}

// ParseAnnouncement reads a message that a publisher signed for the network
// with the given chain ID. It returns ErrMalformed or ErrSignature, and keeps
// no reference to msg.
func ParseAnnouncement(chain string, msg []byte) (Announcement, error) {
	if len(msg) > MaxAnnouncement {
		return Announcement{}, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(msg), MaxAnnouncement)
	}
	var e envelope
	if err := unmarshal(msg, &e); err != nil {
		return Announcement{}, err
	}
	var body announcementBody
	if err := unmarshal(e.Body, &body); err != nil {
		return Announcement{}, err
	}
	a, err := body.announcement()
	if err != nil {
		return Announcement{}, err
	}
	signed, err := signedBytes(announcementDomain, chain, e.Body)
	if err != nil {
		return Announcement{}, err
	}
	if !ed25519.Verify(a.Publisher, signed, e.Signature) {
		return Announcement{}, ErrSignature
	}
	return a, nil
}

// announcement checks every value of a body and gives it its type.
func (body announcementBody) announcement() (Announcement, error) {
	if body.Version != announcementVersion {
		return Announcement{}, fmt.Errorf("%w: version %d", ErrMalformed, body.Version)
	}
	for _, hash := range [][]byte{body.Content, body.Parity, body.ProofHash} {
		if len(hash) != len(erasure.Root{}) {
			return Announcement{}, fmt.Errorf("%w: hash of %d bytes", ErrMalformed, len(hash))
		}
	}
	a := Announcement{
		Info: erasure.Info{
			Name: body.Name, Length: body.Length,
			Content: erasure.Root(body.Content), Parity: erasure.Root(body.Parity), ProofHash: [32]byte(body.ProofHash),
		},
		Peers:     body.Peers,
		Publisher: body.Publisher,
	}
	return a, a.check()
}

// check applies the rules that Sign and ParseAnnouncement share.
func (a Announcement) check() error {
	if err := a.Info.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(a.Publisher) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: public key of %d bytes", ErrMalformed, len(a.Publisher))
	}
	if len(a.Peers) > MaxPeers {
		return fmt.Errorf("%w: %d peers, at most %d", ErrMalformed, len(a.Peers), MaxPeers)
	}
	for i, p := range a.Peers {
		if len(p) < 1 || len(p) > MaxPeerID {
			return fmt.Errorf("%w: peer ID of %d bytes", ErrMalformed, len(p))
		}
		for _, q := range a.Peers[:i] {
			if bytes.Equal(p, q) {
				return fmt.Errorf("%w: the same peer twice", ErrMalformed)
			}
		}
	}
	return nil
}

// signedBytes is what a signature covers: domain ‖ u8 length of chain ‖ chain ‖
// body. No domain is a prefix of another, so the parts cannot be taken for
// others.
func signedBytes(domain, chain string, body []byte) ([]byte, error) {
	if len(chain) < 1 || len(chain) > MaxChainID {
		return nil, fmt.Errorf("%w: chain ID of %d bytes", ErrMalformed, len(chain))
	}
	b := append([]byte(domain), byte(len(chain)))
	b = append(b, chain...)
	return append(b, body...), nil
}
