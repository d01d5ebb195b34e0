package kad

import (
	"bytes"
	"slices"
	"sync/atomic"

	kbucket "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
)

// Converge fills the routing table, and the store with records of these
// custodians, as in a network that has run for long: nobody is dialled.
func (h *Host) Converge(peers []peer.AddrInfo, records map[int][]peer.AddrInfo) {
	for _, p := range peers {
		if p.ID == h.host.ID() {
			continue
		}
		if ok, err := h.dht.RoutingTable().TryAddPeer(p.ID, true, false); ok && err == nil {
			h.host.Peerstore().AddAddrs(p.ID, p.Addrs, peerstore.PermanentAddrTTL)
		}
	}
	for group, providers := range records {
		for _, p := range providers {
			h.host.Peerstore().AddAddrs(p.ID, p.Addrs, peerstore.PermanentAddrTTL)
			_ = h.dht.ProviderStore().AddProvider(h.ctx, groupKey(h.cfg.Chain, group), p)
		}
	}
	h.hidden.Store(false)
}

// Closest returns the n peers closest to the key of a group.
func Closest(chain string, group, n int, peers []peer.AddrInfo) []peer.AddrInfo {
	key := kbucket.ConvertKey(string(groupKey(chain, group)))
	distance := make(map[peer.ID][]byte, len(peers))
	for _, p := range peers {
		d := slices.Clone(kbucket.ConvertPeerID(p.ID))
		for i := range d {
			d[i] ^= key[i]
		}
		distance[p.ID] = d
	}
	sorted := slices.Clone(peers)
	slices.SortFunc(sorted, func(a, b peer.AddrInfo) int { return bytes.Compare(distance[a.ID], distance[b.ID]) })
	return sorted[:min(n, len(sorted))]
}

// Info is where the host is reached.
func (h *Host) Info() peer.AddrInfo { return peer.AddrInfo{ID: h.host.ID(), Addrs: h.host.Addrs()} }

// ServeDHT replaces what the host does with requests of the DHT.
func (h *Host) ServeDHT(handle network.StreamHandler) {
	h.host.SetStreamHandler("/granary/kad/1.0.0", handle)
}

// CountDHT counts the requests of the DHT that the host gets from a peer, and
// answers none.
func (h *Host) CountDHT(from peer.ID, n *atomic.Int64) {
	h.ServeDHT(func(s network.Stream) {
		if s.Conn().RemotePeer() == from {
			n.Add(1)
		}
		_ = s.Reset()
	})
}

// ServeRows replaces what the host does with requests for rows.
func (h *Host) ServeRows(handle network.StreamHandler) {
	h.host.SetStreamHandler(rowService.id(), handle)
}

// Know tells the host where a peer is.
func (h *Host) Know(p peer.AddrInfo) {
	h.host.Peerstore().AddAddrs(p.ID, p.Addrs, peerstore.PermanentAddrTTL)
}
