package ledger

import (
	"crypto/sha256"
	"encoding/binary"
)

const (
	// MaxValidators is how many validators a network can have.
	MaxValidators = 100

	// MaxPower bounds the voting power of a whole set, so that products with
	// numbers of pieces cannot overflow.
	MaxPower = 1 << 50

	validatorsDomain = "granary/validators/v1"
)

// Validator is one of those who run the chain and check what is published. A
// set of them is ordered, and the order matters to Share.
type Validator struct {
	Name      string    `json:"name"` // for people: 1 to 64 printable ASCII characters
	Power     int64     `json:"power"`
	Consensus PublicKey `json:"consensus"` // signs blocks of the chain
	Attest    PublicKey `json:"attest"`    // signs attestations; another key, since it is kept online differently
	Proof     Proof     `json:"proof"`     // that the attest key is this validator's: see Prove
	Peer      PeerID    `json:"peer"`      // where its rows can be had
}

// Power returns the voting power of the whole set.
func Power(set []Validator) int64 {
	var total int64
	for _, v := range set {
		total += v.Power
	}
	return total
}

// checkValidators returns ErrMalformed unless set can run a network.
func checkValidators(set []Validator) error {
	if len(set) < 1 || len(set) > MaxValidators {
		return malformed("%d validators, want 1 to %d", len(set), MaxValidators)
	}
	keys := make(map[PublicKey]bool)
	peers := make(map[string]bool)
	left := int64(MaxPower)
	for _, v := range set {
		if len(v.Name) < 1 || len(v.Name) > 64 {
			return malformed("validator's name of %d bytes", len(v.Name))
		}
		for _, c := range []byte(v.Name) {
			if c < ' ' || c > '~' || c == '<' || c == '>' || c == '&' { // which JSON may escape
				return malformed("validator's name %q", v.Name)
			}
		}
		if v.Power < 1 || v.Power > left {
			return malformed("validator %s has power %d", v.Name, v.Power)
		}
		left -= v.Power
		if keys[v.Consensus] || keys[v.Attest] || v.Consensus == v.Attest {
			return malformed("validator %s has a key that is in use", v.Name)
		}
		keys[v.Consensus], keys[v.Attest] = true, true
		if len(v.Peer) < 1 || len(v.Peer) > MaxPeerID || peers[string(v.Peer)] {
			return malformed("validator %s has peer ID %x", v.Name, []byte(v.Peer))
		}
		peers[string(v.Peer)] = true
	}
	return nil
}

// setHash names a set as far as shares go: who has how much power, in order.
func setHash(set []Validator) Hash {
	h := sha256.New()
	h.Write([]byte(validatorsDomain))
	for _, v := range set {
		h.Write(v.Consensus[:])
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(v.Power)))
	}
	return Hash(h.Sum(nil))
}
