package mainline

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/anacrolix/torrent/bencode"
)

const (
	maxNodes = 32  // taken of one answer; 8 of each family are usual
	maxPeers = 100 // likewise; more do not fit a packet of 1,400 bytes
	maxToken = 64  // bytes; 4 to 20 are usual
)

// query is what we ask.
type query struct {
	name    string // "get_peers" or "announce_peer"
	torrent ID
	port    uint16 // announce_peer
	token   string // announce_peer
}

// encode gives the packet: keys of a bencoded dictionary are sorted.
func (q query) encode(number uint16, id ID) []byte {
	b := []byte("d1:ad2:id20:" + string(id[:]))
	if q.name == "announce_peer" {
		b = append(b, "12:implied_porti0e"...)
	}
	b = append(b, "9:info_hash20:"+string(q.torrent[:])...)
	if q.name == "announce_peer" {
		b = fmt.Appendf(b, "4:porti%de5:token%d:%s", q.port, len(q.token), q.token)
	} else {
		b = append(b, "4:wantl2:n42:n6e"...)
	}
	b = append(b, "e1:q"+strconv.Itoa(len(q.name))+":"+q.name...)
	b = append(b, "2:roi1e1:t2:"...)
	b = append(b, byte(number>>8), byte(number))
	return append(b, "1:y1:qe"...)
}

// reply is what came back.
type reply struct {
	number  uint16
	refused bool // it is an error
	id      ID
	token   string
	nodes   []contact
	peers   []netip.AddrPort
}

// parse reads a packet; false if it is no answer to anything we asked.
func parse(b []byte) (r reply, ok bool) {
	var m struct {
		T string `bencode:"t"`
		Y string `bencode:"y"`
		R struct {
			ID     string        `bencode:"id"`
			Token  string        `bencode:"token"`
			Nodes  string        `bencode:"nodes"`
			Nodes6 string        `bencode:"nodes6"`
			Values bencode.Bytes `bencode:"values"`
		} `bencode:"r"`
	}
	// Of what follows the dictionary, or of keys with values of another kind,
	// nothing is used.
	if err := bencode.Unmarshal(b, &m); err != nil || len(m.T) != 2 {
		return r, false
	}
	r.number = uint16(m.T[0])<<8 | uint16(m.T[1])
	if m.Y == "e" {
		r.refused = true
		return r, true
	}
	if m.Y != "r" || len(m.R.ID) != len(ID{}) || len(m.R.Token) > maxToken {
		return r, false
	}
	r.id, r.token = ID([]byte(m.R.ID)), m.R.Token
	r.nodes = append(contacts(m.R.Nodes, 4), contacts(m.R.Nodes6, 16)...)
	var values []string
	if len(m.R.Values) > 0 && bencode.Unmarshal(m.R.Values, &values) == nil {
		for _, v := range values[:min(len(values), maxPeers)] {
			if a, ok := address([]byte(v)); ok {
				r.peers = append(r.peers, a)
			}
		}
	}
	return r, true
}

// contacts reads "compact node info" with addresses of size bytes.
func contacts(s string, size int) []contact {
	var list []contact
	for n := len(ID{}) + size + 2; len(s) >= n && len(list) < maxNodes; s = s[n:] {
		if a, ok := address([]byte(s[len(ID{}):n])); ok {
			list = append(list, contact{ID([]byte(s[:len(ID{})])), a})
		}
	}
	return list
}

// address reads "compact peer info" of either family.
func address(b []byte) (netip.AddrPort, bool) {
	if len(b) != 6 && len(b) != 18 {
		return netip.AddrPort{}, false
	}
	n := len(b) - 2
	ip, _ := netip.AddrFromSlice(b[:n])
	return canonical(netip.AddrPortFrom(ip, uint16(b[n])<<8|uint16(b[n+1]))), b[n]|b[n+1] != 0
}
