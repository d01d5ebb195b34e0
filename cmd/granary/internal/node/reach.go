package node

import (
	"fmt"
	"strings"

	"granary/sampling/kad"
)

// ReachStatus says whether others can reach the node.
type ReachStatus struct {
	State       string   `json:"state"` // "open", "closed", "untested" or "devnet"
	Words       string   `json:"words"` // the same for people, with what to do about it
	Reachable   []string `json:"reachable,omitempty"`
	Unreachable []string `json:"unreachable,omitempty"`
	Relays      []string `json:"relays,omitempty"` // peers that introduce others to it
	Inbound     int      `json:"inbound"`          // peers connected now that dialled it
}

// reach judges what peers found who tried to dial us.
func (n *Node) reach() ReachStatus {
	r := n.host.Reachability()
	s := ReachStatus{Reachable: r.Reachable, Unreachable: r.Unreachable, Relays: r.Relays, Inbound: r.Inbound}
	s.State, s.Words = reachWords(r, n.cfg)
	return s
}

func reachWords(r kad.Reachability, cfg Config) (state, words string) {
	ports := fmt.Sprintf("have the router forward port %d (TCP and UDP) and port %d (TCP) to this machine", cfg.Port, cfg.TorrentPort)
	switch {
	case cfg.Devnet:
		return "devnet", "not tested, because this is a devnet"
	case r.Open() && len(r.Unreachable) > 0:
		return "open", "others can reach this node, but not at every address: " + ports
	case r.Open():
		return "open", "others can reach this node"
	case r.Tested && len(r.Relays) > 0:
		introduce := "a relay introduces them"
		if len(r.Relays) > 1 {
			introduce = fmt.Sprintf("%d relays introduce them", len(r.Relays))
		}
		return "closed", "others cannot dial this node: a router or firewall keeps them out. So " + introduce +
			", which works with many routers and not with all; to be sure, " + ports
	case r.Tested:
		return "closed", "others cannot dial this node: a router or firewall keeps them out. It fetches and checks, and serves " +
			"those that it dials itself; to serve all, " + ports
	case r.Inbound > 0:
		return "untested", fmt.Sprintf("not tested yet; connected peers that dialled this node: %d", r.Inbound)
	}
	return "untested", "not known yet: no peer has tried to dial this node; that takes a few peers and some minutes"
}

// String returns the state with its addresses, for people.
func (s ReachStatus) String() string {
	if len(s.Reachable) == 0 {
		return s.Words
	}
	return s.Words + ", at " + strings.Join(s.Reachable, " and ")
}
