package swarm

import "net/netip"

// Addr is where the swarm listens.
func (s *Swarm) Addr() netip.AddrPort {
	return netip.AddrPortFrom(s.cfg.IP, uint16(s.Port()))
}
