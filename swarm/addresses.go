package swarm

import (
	"net/netip"
	"time"

	"github.com/anacrolix/torrent"
)

// address is a peer we were told of. The engine forgets an address once it has
// tried it, or lost the connection, so we hand it over again.
type address struct {
	next  time.Time // not to be dialled before
	tries int       // since it was last connected
	found bool      // a source named it, see addFound
}

const (
	maxAddresses = 256
	firstRedial  = time.Second
	lastRedial   = time.Minute
)

// AddPeers tells of addresses where the block may be had. None is trusted;
// duplicates, and addresses that policy forbids to dial, are dropped.
func (t *Torrent) AddPeers(peers ...netip.AddrPort) { t.addPeers(false, peers) }

func (t *Torrent) addPeers(found bool, peers []netip.AddrPort) {
	now := time.Now()
	var dial []torrent.PeerInfo
	t.mu.Lock()
	for _, p := range peers {
		p = canonical(p)
		if !t.swarm.gate.allows(p) || t.ended {
			continue
		}
		a := t.addrs[p]
		if a != nil && len(t.jobs) == 0 && now.Before(a.next.Add(lastRedial)) {
			continue // once is enough to be asked; nothing is wanted
		}
		if a == nil {
			if !t.roomForAddress(found) {
				continue
			}
			a = &address{found: found}
			t.addrs[p] = a
		}
		a.found = a.found && found
		if now.Before(a.next) || t.connected(p) {
			continue
		}
		a.retryAfter(now)
		dial = append(dial, torrent.PeerInfo{Addr: p, Source: torrent.PeerSourceDirect})
	}
	t.mu.Unlock()
	if len(dial) > 0 {
		t.handle.AddPeers(dial)
	}
}

func (a *address) retryAfter(now time.Time) {
	a.next = now.Add(min(firstRedial<<min(a.tries, 6), lastRedial))
	a.tries++
}

// roomForAddress makes sure that one more address may be kept. t.mu is held.
func (t *Torrent) roomForAddress(found bool) bool {
	if found {
		n := 0
		for _, a := range t.addrs {
			if a.found {
				n++
			}
		}
		if n >= maxFound {
			return t.forgetAddress(true)
		}
	}
	return len(t.addrs) < maxAddresses || t.forgetAddress(found)
}

// forgetAddress makes room by dropping an address that was tried most often in
// vain, if any was tried thrice; of those that sources named, if found is set.
// t.mu is held.
func (t *Torrent) forgetAddress(found bool) bool {
	var worst netip.AddrPort
	tries := 2
	for addr, a := range t.addrs {
		if a.tries > tries && (a.found || !found) && !t.connected(addr) {
			worst, tries = addr, a.tries
		}
	}
	delete(t.addrs, worst)
	return tries > 2
}

// connected reports whether a connection leads to addr. t.mu is held.
func (t *Torrent) connected(addr netip.AddrPort) bool {
	for _, p := range t.peers {
		if p.addr == addr || p.addr.Addr() == addr.Addr() && p.listens == addr.Port() {
			return true
		}
	}
	return false
}

// redial hands known addresses to the engine that are not connected and whose
// time has come.
func (t *Torrent) redial() {
	now := time.Now()
	var due []netip.AddrPort
	t.mu.Lock()
	for addr, a := range t.addrs {
		if !now.Before(a.next) {
			due = append(due, addr)
		}
	}
	t.mu.Unlock()
	t.addPeers(true, due)
}
