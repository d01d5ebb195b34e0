package swarm

import (
	"context"
	"net"
	"net/netip"
	"time"

	"granary/erasure"
)

// Addr is where the swarm can be reached.
func (s *Swarm) Addr() netip.AddrPort {
	if !s.cfg.IP.IsValid() {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(s.Port()))
	}
	return netip.AddrPortFrom(s.cfg.IP, uint16(s.Port()))
}

// Addresses is how many peers' addresses are kept.
func (t *Torrent) Addresses() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.addrs)
}

// DropIdle sweeps as if it were now.
func (s *Swarm) DropIdle(now time.Time) { s.dropIdle(now) }

// Claimed is what the engine announces to peers that connect now.
func (t *Torrent) Claimed() erasure.PieceSet {
	claimed := erasure.NewPieceSet(t.geo.Pieces())
	for p := range t.geo.Pieces() {
		if t.handle.PieceState(p).Complete {
			claimed.Add(p)
		}
	}
	return claimed
}

// DescribeOver asks the peer at the other end of nc.
func DescribeOver(ctx context.Context, nc net.Conn, id erasure.ID) (erasure.Bundle, error) {
	return describeOver(ctx, nc, id)
}
