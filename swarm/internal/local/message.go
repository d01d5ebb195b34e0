package local

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const (
	maxMessage = 1400 // bytes: one datagram on any network
	maxHashes  = 20   // in one message: 20 lines of 51 bytes fit
	maxCookie  = 64
)

// Hash names a torrent: of a v2 torrent the first 20 bytes of its hash.
type Hash [20]byte

// message is what one datagram says.
type message struct {
	port   uint16
	hashes []Hash
	cookie string // of who sent it, by which it knows its own
}

// encode gives the datagram for the group.
func (m message) encode(group netip.AddrPort) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "BT-SEARCH * HTTP/1.1\r\nHost: %s\r\nPort: %d\r\n", group, m.port)
	for _, h := range m.hashes {
		fmt.Fprintf(&b, "Infohash: %x\r\n", h[:])
	}
	fmt.Fprintf(&b, "cookie: %s\r\n\r\n\r\n", m.cookie)
	return b.Bytes()
}

// parse reads a datagram. It wants a port and a hash, and passes over lines it
// does not know; what is out of bounds is no message.
func parse(b []byte) (m message, ok bool) {
	if len(b) > maxMessage {
		return m, false
	}
	lines := strings.Split(string(b), "\r\n")
	if lines[0] != "BT-SEARCH * HTTP/1.1" {
		return m, false
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "port":
			port, err := strconv.ParseUint(value, 10, 16)
			if err != nil || port == 0 {
				return m, false
			}
			m.port = uint16(port)
		case "infohash":
			raw, err := hex.DecodeString(value)
			if err != nil || len(raw) != len(Hash{}) || len(m.hashes) == maxHashes {
				return m, false
			}
			m.hashes = append(m.hashes, Hash(raw))
		case "cookie":
			if len(value) > maxCookie {
				return m, false
			}
			m.cookie = value
		}
	}
	return m, m.port != 0 && len(m.hashes) > 0
}
