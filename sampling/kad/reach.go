package kad

import (
	"context"
	"slices"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Reachability says whether others can dial this node. It is what peers found
// who tried to (AutoNAT, versions 1 and 2), not what the node thinks of itself.
type Reachability struct {
	Tested      bool     // peers have tried; false in a devnet, where nobody does
	Reachable   []string // multiaddrs at which they came through
	Unreachable []string // public ones at which they did not
	Relays      []string // peer IDs of relays that introduce others to it
	Inbound     int      // peers connected now that dialled this node directly
}

// Open reports whether somebody came through.
func (r Reachability) Open() bool { return len(r.Reachable) > 0 }

// Reachability returns what is known now.
func (h *Host) Reachability() Reachability {
	var r Reachability
	if confirmer, ok := h.host.(interface {
		ConfirmedAddrs() (reachable, unreachable, unknown []ma.Multiaddr)
	}); ok {
		reachable, unreachable, _ := confirmer.ConfirmedAddrs()
		r.Reachable, r.Unreachable = texts(reachable), texts(unreachable)
	}
	r.Tested = len(r.Reachable)+len(r.Unreachable) > 0
	h.mu.Lock()
	verdict := h.reach
	h.mu.Unlock()
	switch {
	case verdict == network.ReachabilityUnknown:
	case verdict == network.ReachabilityPublic && !r.Open():
		r.Tested, r.Reachable = true, texts(slices.DeleteFunc(h.host.Addrs(), func(a ma.Multiaddr) bool { return !manet.IsPublicAddr(a) || relayed(a) }))
	default:
		r.Tested = true
	}
	for _, a := range h.host.Addrs() {
		if relay := relayOf(a); relay != "" && !slices.Contains(r.Relays, relay) {
			r.Relays = append(r.Relays, relay)
		}
	}
	for _, p := range h.host.Network().Peers() {
		if slices.ContainsFunc(h.host.Network().ConnsToPeer(p), func(c network.Conn) bool {
			return c.Stat().Direction == network.DirInbound && !c.Stat().Limited
		}) {
			r.Inbound++
		}
	}
	return r
}

func texts(addrs []ma.Multiaddr) []string {
	var all []string
	for _, a := range addrs {
		all = append(all, a.String())
	}
	return all
}

// relayed reports whether a leads through a relay.
func relayed(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

// relayOf is the peer ID of the relay that a leads through, if it does.
func relayOf(a ma.Multiaddr) string {
	if !relayed(a) {
		return ""
	}
	id, err := a.ValueForProtocol(ma.P_P2P)
	if err != nil {
		return ""
	}
	return id
}

// followReach remembers what AutoNAT says until ctx ends.
func (h *Host) followReach(ctx context.Context) {
	events, err := h.host.EventBus().Subscribe(new(event.EvtLocalReachabilityChanged))
	if err != nil {
		h.log.Warn("reachability is not known", "err", err)
		return
	}
	defer events.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events.Out():
			if !ok {
				return
			}
			h.mu.Lock()
			h.reach = e.(event.EvtLocalReachabilityChanged).Reachability
			h.mu.Unlock()
		}
	}
}

// relays names up to num connected peers that offer to be relays, for a node
// that others cannot dial.
func (h *Host) relays(_ context.Context, num int) <-chan peer.AddrInfo {
	out := make(chan peer.AddrInfo, num)
	defer close(out)
	select {
	case <-h.listening:
	default:
		return out // libp2p asks before it has given us the host
	}
	for _, p := range h.host.Network().Peers() {
		speaks, err := h.host.Peerstore().SupportsProtocols(p, proto.ProtoIDv2Hop)
		if err != nil || len(speaks) == 0 {
			continue
		}
		select {
		case out <- peer.AddrInfo{ID: p, Addrs: h.host.Peerstore().Addrs(p)}:
		default:
			return out
		}
	}
	return out
}
