package node

import (
	"fmt"
	"io"
	"os"
	"strings"

	"granary/erasure"
)

// maxTorrentFile bounds a .torrent that is read: an info dictionary and two
// piece layers of 512 hashes are below 40 KiB.
const maxTorrentFile = 1 << 20

// Ref names a block: by its ID, by the first digits of it, or by a .torrent
// file, which also brings the description.
type Ref struct {
	ID     erasure.ID
	Prefix string          // set instead of ID: lower-case hex digits to be found in the store
	Bundle *erasure.Bundle // what a .torrent file says; nil otherwise
}

// ParseRef reads a reference as people type it: 64 hex digits, 8 or more of
// them, a magnet link, or the path of a .torrent file.
func ParseRef(s string) (Ref, error) {
	switch {
	case strings.HasPrefix(s, "@"), strings.HasPrefix(s, "#"):
		return Ref{}, fmt.Errorf("%w: %q needs the ledger, which this version does not have yet", ErrRef, s)
	case strings.HasPrefix(strings.ToLower(s), "magnet:"):
		id, err := erasure.ParseMagnet(s)
		return Ref{ID: id}, err
	case strings.HasSuffix(s, ".torrent"):
		b, err := ReadTorrent(s)
		if err != nil {
			return Ref{}, err
		}
		return Ref{ID: b.Info.ID(), Bundle: &b}, nil
	case !isHex(s) || len(s) < 8 || len(s) > 64:
		return Ref{}, fmt.Errorf("%w: %q", ErrRef, s)
	case len(s) < 64:
		return Ref{Prefix: strings.ToLower(s)}, nil
	}
	id, err := erasure.ParseID(s)
	return Ref{ID: id}, err
}

// ReadTorrent reads and checks a .torrent file.
func ReadTorrent(path string) (erasure.Bundle, error) {
	f, err := os.Open(path)
	if err != nil {
		return erasure.Bundle{}, fmt.Errorf("open torrent: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxTorrentFile+1))
	if err != nil {
		return erasure.Bundle{}, fmt.Errorf("read torrent %s: %w", path, err)
	}
	if len(raw) > maxTorrentFile {
		return erasure.Bundle{}, fmt.Errorf("%s: %w: longer than %d bytes", path, erasure.ErrTorrent, maxTorrentFile)
	}
	b, err := erasure.ParseTorrent(raw)
	if err != nil {
		return erasure.Bundle{}, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

func isHex(s string) bool {
	for _, c := range s {
		if !strings.ContainsRune("0123456789abcdefABCDEF", c) {
			return false
		}
	}
	return true
}
