package swarm

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// lookAtBans is how often the engine is asked whom it banned, if it did not say
// that it may have: it bans some who are gone already.
const lookAtBans = time.Second

// bans knows who sent wrong bytes. The engine finds them out; it keeps an IPv4
// peer as ::ffff:a.b.c.d and looks up a.b.c.d when the peer comes back, and
// knows nothing of networks.
type bans struct {
	ask   func() []string // the engine's list; takes its lock
	stale atomic.Bool     // the engine may have banned somebody

	mu     sync.Mutex          // above the engine's lock
	looked time.Time           // guarded by mu
	addrs  map[netip.Addr]bool // guarded by mu: as they were seen, IPv4 in four bytes
	sites  map[netip.Addr]bool // guarded by mu: see site
}

func newBans(before []netip.Addr) *bans {
	b := &bans{ask: func() []string { return nil }, addrs: map[netip.Addr]bool{}, sites: map[netip.Addr]bool{}}
	for _, ip := range before {
		b.add(ip)
	}
	return b
}

// site is what is banned, and counted, as one: an IPv4 address, or the /64 of
// an IPv6 one, within which anybody can have as many addresses as he likes.
func site(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip
	}
	p, _ := ip.Prefix(64)
	return p.Addr()
}

// add reports whether ip's site was not banned. b.mu is held, or b is new.
func (b *bans) add(ip netip.Addr) bool {
	ip = ip.Unmap()
	b.addrs[ip] = true
	fresh := !b.sites[site(ip)]
	b.sites[site(ip)] = true
	return fresh
}

// has reports whether ip is banned. fresh is set if somebody was banned since
// it was last called: his other connections may still be open.
func (b *bans) has(ip netip.Addr, now time.Time) (banned, fresh bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fresh = b.look(now)
	return b.sites[site(ip)], fresh
}

// knows reports whether ip is known to be banned, and asks nobody.
func (b *bans) knows(ip netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sites[site(ip)]
}

// look asks the engine if it is time to. b.mu is held.
func (b *bans) look(now time.Time) (fresh bool) {
	if !b.stale.Swap(false) && now.Sub(b.looked) < lookAtBans {
		return false
	}
	b.looked = now
	for _, text := range b.ask() {
		if ip, err := netip.ParseAddr(text); err == nil && !b.addrs[ip.Unmap()] {
			fresh = b.add(ip) || fresh
		}
	}
	return fresh
}

// list returns all addresses, sorted, and what has returns of fresh.
func (b *bans) list(now time.Time) (all []netip.Addr, fresh bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stale.Store(true)
	fresh = b.look(now)
	return slices.SortedFunc(maps.Keys(b.addrs), netip.Addr.Compare), fresh
}

// admits reports whether policy lets ip in, or has it called.
func (s *Swarm) admits(ip netip.Addr, incoming bool) bool {
	banned, fresh := s.bans.has(ip, time.Now())
	if fresh {
		s.cutBanned()
	}
	return !banned && (!incoming || s.lets())
}

// cutBanned closes the connections of those whose network was banned for
// another address of it: the engine closes those of the same address.
func (s *Swarm) cutBanned() {
	for _, c := range s.gate.connected() {
		if s.bans.knows(c.remote) {
			_ = c.Conn.Close() // the engine notices
		}
	}
}

// Banned returns the addresses that sent wrong bytes, those of Config.Banned
// included, sorted; IPv4 addresses in their four-byte form. Of an IPv6 address
// the whole /64 is shut out.
func (s *Swarm) Banned() []netip.Addr {
	all, fresh := s.bans.list(time.Now())
	if fresh {
		s.cutBanned()
	}
	return all
}
