package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

const headDomain = "granary/head/v1"

// ErrProof reports a proof that does not show what it should.
var ErrProof = errors.New("proof does not verify")

// Head is the state of the log: how many entries it has, the root of the
// RFC 6962 tree (SHA-256) over them, and the root of what follows from them.
type Head struct {
	Size  uint64
	Root  Hash
	State Hash // see VerifyValue
}

// AppHash is what the chain's headers carry: SHA-256 of the ASCII string
// granary/head/v1, the size as u64le, and both roots. Height and time have no part
// in it: one that moves in an idle network would make blocks for ever.
func (h Head) AppHash() Hash {
	b := binary.LittleEndian.AppendUint64([]byte(headDomain), h.Size)
	return sha256.Sum256(append(append(b, h.Root[:]...), h.State[:]...))
}

// VerifyInclusion returns ErrProof unless path shows that leaf is entry number
// index of the log with head h. A path has at most 64 hashes.
func VerifyInclusion(h Head, index uint64, leaf []byte, path []Hash) error {
	hasher := rfc6962.DefaultHasher
	if err := proof.VerifyInclusion(hasher, index, h.Size, hasher.HashLeaf(leaf), rawHashes(path), h.Root[:]); err != nil {
		return fmt.Errorf("%w: entry %d of %d: %w", ErrProof, index, h.Size, err)
	}
	return nil
}

// VerifyConsistency returns ErrProof unless path shows that the log with head
// from is the beginning of the log with head to. An empty log begins every log.
func VerifyConsistency(from, to Head, path []Hash) error {
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, from.Size, to.Size, rawHashes(path), from.Root[:], to.Root[:]); err != nil {
		return fmt.Errorf("%w: from size %d to %d: %w", ErrProof, from.Size, to.Size, err)
	}
	return nil
}

func rawHashes(hashes []Hash) [][]byte {
	out := make([][]byte, len(hashes))
	for i := range hashes {
		out[i] = hashes[i][:]
	}
	return out
}
