package ledger

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
)

// Hash is a SHA-256.
type Hash [32]byte

// String returns the hash as 64 lower-case hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler: hex.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler: 64 hex digits.
func (h *Hash) UnmarshalText(text []byte) error { return unhex(h[:], text) }

// PublicKey is an ed25519 public key. It names an account, a publisher or a
// validator.
type PublicKey [ed25519.PublicKeySize]byte

// KeyOf returns the public half of key, which must be of the right length.
func KeyOf(key ed25519.PrivateKey) PublicKey {
	return PublicKey(key.Public().(ed25519.PublicKey))
}

// String returns the key as 64 lower-case hex digits.
func (k PublicKey) String() string { return hex.EncodeToString(k[:]) }

// MarshalText implements encoding.TextMarshaler: hex.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler: 64 hex digits.
func (k *PublicKey) UnmarshalText(text []byte) error { return unhex(k[:], text) }

// PeerID is a libp2p peer ID in binary form. The ledger does not look inside.
type PeerID []byte

// MarshalText implements encoding.TextMarshaler: hex.
func (p PeerID) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(p)), nil }

// UnmarshalText implements encoding.TextUnmarshaler: hex.
func (p *PeerID) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("peer ID: %w", err)
	}
	*p = b
	return nil
}

// unhex fills dst with exactly twice as many hex digits.
func unhex(dst, text []byte) error {
	if hex.DecodedLen(len(text)) != len(dst) || len(text)%2 != 0 {
		return fmt.Errorf("%d hex digits, want %d", len(text), 2*len(dst))
	}
	_, err := hex.Decode(dst, text)
	return err
}
