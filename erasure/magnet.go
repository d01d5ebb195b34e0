package erasure

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

const (
	maxMagnet    = 16 << 10 // bytes; clients add dozens of trackers
	magnetScheme = "magnet:?"
	magnetTopic  = "urn:btmh:1220" // multihash of SHA-256, 32 bytes
)

// ErrMagnet reports a link that is not the magnet link of a BitTorrent v2
// torrent.
var ErrMagnet = errors.New("not a block's magnet link")

// dropped are the magnet parameters that are known and not followed: they
// would send us to addresses that a stranger chose.
var dropped = map[string]bool{
	"dn": true, "tr": true, "ws": true, "xs": true, "as": true, "x.pe": true,
	"xl": true, "kt": true, "mt": true, "so": true,
}

// ParseMagnet returns the ID that a magnet link names. The link must have
// exactly one topic, xt=urn:btmh:1220 and 64 hex digits: no other hash beside
// it. Display name, peers, trackers and web seeds are dropped and never
// followed; any other parameter is ErrMagnet.
func ParseMagnet(s string) (ID, error) {
	if len(s) > maxMagnet {
		return ID{}, fmt.Errorf("%w: %d bytes", ErrMagnet, len(s))
	}
	if len(s) < len(magnetScheme) || !strings.EqualFold(s[:len(magnetScheme)], magnetScheme) {
		return ID{}, fmt.Errorf("%w: %.40q", ErrMagnet, s)
	}
	var topic string
	for part := range strings.SplitSeq(s[len(magnetScheme):], "&") {
		key, value, _ := strings.Cut(part, "=")
		name, _, numbered := strings.Cut(key, ".") // tr.1, tr.2 …
		switch {
		case key == "xt" && topic == "":
			topic = value
		case key == "xt":
			return ID{}, fmt.Errorf("%w: more than one topic", ErrMagnet)
		case !dropped[key] && !(numbered && name == "tr"):
			return ID{}, fmt.Errorf("%w: parameter %.40q", ErrMagnet, key)
		}
	}
	topic, err := url.QueryUnescape(topic)
	if err != nil {
		return ID{}, fmt.Errorf("%w: %w", ErrMagnet, err)
	}
	if len(topic) < len(magnetTopic) || !strings.EqualFold(topic[:len(magnetTopic)], magnetTopic) {
		return ID{}, fmt.Errorf("%w: topic %.80q, want %s…", ErrMagnet, topic, magnetTopic)
	}
	id, err := ParseID(topic[len(magnetTopic):])
	if err != nil {
		return ID{}, fmt.Errorf("%w: %w", ErrMagnet, err)
	}
	return id, nil
}
