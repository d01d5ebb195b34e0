package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
)

const possessDomain = "granary/attest-key/v1"

// Proof is an attest key's signature that it belongs to a validator. Without
// one, anybody could name another's key as his own, and so keep its owner out.
type Proof [ed25519.SignatureSize]byte

// MarshalText implements encoding.TextMarshaler: hex.
func (p Proof) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(p[:])), nil }

// UnmarshalText implements encoding.TextUnmarshaler: 128 hex digits.
func (p *Proof) UnmarshalText(text []byte) error { return unhex(p[:], text) }

// Prove returns the proof that key is an attest key of the validator with the given
// consensus key on the network with the given chain ID. It returns ErrMalformed
// for a key or chain ID that is none.
func Prove(chain string, consensus PublicKey, key ed25519.PrivateKey) (Proof, error) {
	if len(key) != ed25519.PrivateKeySize {
		return Proof{}, malformed("private key of %d bytes", len(key))
	}
	signed, err := possessed(chain, consensus)
	if err != nil {
		return Proof{}, err
	}
	return Proof(ed25519.Sign(key, signed)), nil
}

// Verify returns ErrSignature unless v's attest key says that it belongs to v on
// the network with the given chain ID.
func (v Validator) Verify(chain string) error {
	signed, err := possessed(chain, v.Consensus)
	if err != nil {
		return err
	}
	if !ed25519.Verify(v.Attest[:], signed, v.Proof[:]) {
		return fmt.Errorf("%w: attest key %s does not say that it belongs to consensus key %s on %s", ErrSignature, v.Attest, v.Consensus, chain)
	}
	return nil
}

// possessed is what a proof covers: domain ‖ u8 length of chain ‖ chain ‖ consensus key.
func possessed(chain string, consensus PublicKey) ([]byte, error) {
	if err := checkChainID(chain); err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{[]byte(possessDomain), {byte(len(chain))}, []byte(chain), consensus[:]}, nil), nil
}

// checkProof returns ErrSignature for an attest key that a transaction names
// without a proof. Its sender is known to have signed it.
func (s *State) checkProof(tx Tx) error {
	switch {
	case tx.Kind == KindPropose && tx.Change.Kind == ChangeValidator:
		return tx.Change.Validator.Verify(s.net.Chain)
	case tx.Kind == KindRotate:
		v, err := s.validator(tx.Sender)
		if err != nil {
			return err
		}
		v.Attest, v.Proof = tx.Rotation.Attest, tx.Rotation.Proof
		return v.Verify(s.net.Chain)
	}
	return nil
}
