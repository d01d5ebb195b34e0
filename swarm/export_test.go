package swarm

import "net/netip"

// Addr is where the swarm listens.
func (s *Swarm) Addr() netip.AddrPort {
	return netip.AddrPortFrom(s.cfg.IP, uint16(s.Port()))
}

// Addresses is how many peers' addresses are kept.
func (t *Torrent) Addresses() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.addrs)
}
