package swarm

import "net/netip"

// LocalGroup makes local discovery use another multicast group.
func LocalGroup(c *Config, group netip.AddrPort) { c.Sources.localGroup = group }
