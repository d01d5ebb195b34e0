package erasure

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
)

const (
	// ParitySuffix follows the content file's name in the parity file's.
	ParitySuffix = ".parity"

	formatVersion = 1
	metaVersion   = 2 // BitTorrent v2

	// maxInfo bounds an encoded info dictionary: three names and, with some
	// room, everything else.
	maxInfo = 3*maxName + 500
)

// ErrInfo reports bytes that are not the info dictionary of a block of format
// version 1.
var ErrInfo = errors.New("not a block's info dictionary")

// Info is what a block's ID commits to: every field of the torrent's info
// dictionary that is not fixed by the format.
type Info struct {
	Name      string   // the content file's name; the parity file is Name + ".parity"
	Length    int64    // content length in bytes, 1 ≤ Length ≤ MaxLength
	Content   Root     // pieces root of the padded content
	Parity    Root     // pieces root of the parity
	ProofHash [32]byte // SHA-256 of the proof vector
}

// Geometry returns how the content is cut. Length must be valid, as it is in
// every Info that this package returns or Validate accepts.
func (i Info) Geometry() Geometry {
	g, err := NewGeometry(i.Length)
	if err != nil {
		panic(fmt.Sprintf("BUG: geometry of a length of %d bytes", i.Length))
	}
	return g
}

// Validate returns ErrName or ErrLength if i cannot describe a block. Roots
// and proof hash may be anything.
func (i Info) Validate() error {
	if err := CheckName(i.Name); err != nil {
		return err
	}
	_, err := NewGeometry(i.Length)
	return err
}

// Encode returns the info dictionary: the canonical bencoding whose SHA-256 is
// the ID. i must be valid.
func (i Info) Encode() []byte {
	g := i.Geometry()
	b := make([]byte, 0, maxInfo)
	b = append(b, "d9:file treed"...)
	b = appendFile(b, i.Name, g, i.Content)
	b = appendFile(b, i.Name+ParitySuffix, g, i.Parity) // sorts after its prefix
	b = append(b, "e7:granaryd6:length"...)
	b = appendInt(b, i.Length)
	b = append(b, "5:proof"...)
	b = appendString(b, i.ProofHash[:])
	b = append(b, "1:v"...)
	b = appendInt(b, formatVersion)
	b = append(b, "e12:meta version"...)
	b = appendInt(b, metaVersion)
	b = append(b, "4:name"...)
	b = appendString(b, i.Name)
	b = append(b, "12:piece length"...)
	b = appendInt(b, g.PieceLength())
	return append(b, 'e')
}

func appendFile(b []byte, name string, g Geometry, root Root) []byte {
	b = appendString(b, name)
	b = append(b, "d0:d6:length"...)
	b = appendInt(b, g.PaddedLength())
	b = append(b, "11:pieces root"...)
	b = appendString(b, root[:])
	return append(b, "ee"...)
}

// ID returns the block's name in the world. i must be valid.
func (i Info) ID() ID { return sha256.Sum256(i.Encode()) }

// ParseInfo reads an info dictionary. It is strict: only the bytes that Encode
// gives for a valid Info are accepted, all else is ErrInfo. It keeps no
// reference to b.
func ParseInfo(b []byte) (Info, error) {
	if len(b) > maxInfo {
		return Info{}, fmt.Errorf("%w: %d bytes", ErrInfo, len(b))
	}
	// Read only what the format leaves open; encoding it again then settles
	// everything else, be it a key, an order or a digit.
	var i Info
	d := decoder{b: b}
	d.literal("d9:file treed")
	i.Name = string(d.string())
	d.file(&i.Content)
	d.string()
	d.file(&i.Parity)
	d.literal("e7:granaryd6:length")
	i.Length = d.int()
	d.literal("5:proof")
	copy(i.ProofHash[:], d.string())
	if d.err != nil {
		return Info{}, fmt.Errorf("%w: %w", ErrInfo, d.err)
	}
	if err := i.Validate(); err != nil {
		return Info{}, fmt.Errorf("%w: %w", ErrInfo, err)
	}
	if !bytes.Equal(i.Encode(), b) {
		return Info{}, fmt.Errorf("%w: not in the one form of format version %d", ErrInfo, formatVersion)
	}
	return i, nil
}

// file reads the part of a file's entry that follows its name.
func (d *decoder) file(root *Root) {
	d.literal("d0:d6:length")
	d.int()
	d.literal("11:pieces root")
	copy(root[:], d.string())
	d.literal("ee")
}
