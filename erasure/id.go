package erasure

import (
	"encoding/hex"
	"fmt"
)

// Root is the root of a BEP 52 Merkle tree: SHA-256 over 16 KiB leaves, the
// leaf count padded to a power of two with all-zero hashes.
type Root [32]byte

// String returns the root as 64 lower-case hex digits.
func (r Root) String() string { return hex.EncodeToString(r[:]) }

// ID names a block. It is the SHA-256 of the torrent's info dictionary, hence
// the BitTorrent v2 infohash, hence the block's magnet link.
type ID [32]byte

// String returns the ID as 64 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first eight hex digits, for logs and progress lines.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// Magnet returns the magnet link that finds the block in any BitTorrent v2
// client: the multihash prefix 0x12 0x20 (SHA-256, 32 bytes) and the ID.
func (id ID) Magnet() string { return "magnet:?xt=urn:btmh:1220" + id.String() }

// ParseID reads 64 hex digits of either case.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return ID{}, fmt.Errorf("ID has %d characters, want %d hex digits", len(s), 2*len(id))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("ID %.64q: %w", s, err)
	}
	return id, nil
}
