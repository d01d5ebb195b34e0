package swarm

import "net/netip"

// Admits reports whether ip may connect.
func (s *Swarm) Admits(ip netip.Addr) bool { return s.admits(ip, true) }
