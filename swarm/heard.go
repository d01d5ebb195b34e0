package swarm

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/anacrolix/torrent/metainfo"
)

const (
	// heardFor is how long what was heard by local discovery is believed; others
	// repeat it every 5 minutes.
	heardFor = 11 * time.Minute

	maxHeard = 1024 // addresses of torrents; the oldest go first
	maxMet   = 256  // addresses on our own networks that may be dialled
)

// heard remembers who said on our own networks that he has which torrent.
type heard struct {
	mu   sync.Mutex
	list []word // guarded by mu: oldest first
}

// word is one thing that was said.
type word struct {
	hash metainfo.Hash
	from netip.AddrPort
	at   time.Time
}

// add reports whether the same was said less than localWanted ago.
func (h *heard) add(hash metainfo.Hash, from netip.AddrPort, now time.Time) (again bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = slices.DeleteFunc(h.list, func(w word) bool {
		same := w.hash == hash && w.from == from
		again = again || same && now.Sub(w.at) < localWanted
		return same || now.Sub(w.at) > heardFor
	})
	if len(h.list) == maxHeard {
		h.list = h.list[1:]
	}
	h.list = append(h.list, word{hash, from, now})
	return again
}

// of returns who said that he has a torrent.
func (h *heard) of(hash metainfo.Hash, now time.Time) []netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []netip.AddrPort
	for _, w := range h.list {
		if w.hash == hash && now.Sub(w.at) <= heardFor {
			all = append(all, w.from)
		}
	}
	return all
}

// meet lets addr, of which we heard on one of our own networks that it has what we
// fetch, be dialled although it is private. It returns false for one that is banned.
func (g *gate) meet(addr netip.AddrPort, now time.Time) bool {
	addr = canonical(addr)
	if !g.admits(addr.Addr(), false) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.met = slices.DeleteFunc(g.met, func(m met) bool { return m.addr == addr || now.Sub(m.at) > heardFor })
	if len(g.met) == maxMet {
		g.met = g.met[1:]
	}
	g.met = append(g.met, met{addr, now})
	return true
}

// met is an address on one of our own networks.
type met struct {
	addr netip.AddrPort
	at   time.Time
}

func (g *gate) hasMet(addr netip.AddrPort) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.met, func(m met) bool { return m.addr == addr && time.Since(m.at) <= heardFor })
}
