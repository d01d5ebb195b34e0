package node

import (
	"net/netip"
	"time"
)

// Bans remembers who was banned.
type Bans struct{ b *bans }

// OpenBans reads the bans that still hold.
func OpenBans(path string, now time.Time) (Bans, error) {
	b, err := openBans(path, now)
	return Bans{b}, err
}

// Addresses is who is banned.
func (b Bans) Addresses() []netip.Addr { return b.b.addresses() }

// Keep writes who is.
func (b Bans) Keep(banned []netip.Addr, now time.Time) error { return b.b.keep(banned, now) }
