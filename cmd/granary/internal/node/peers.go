package node

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"granary/cmd/granary/internal/durable"
	"granary/sampling"
	"granary/sampling/kad"
)

// holdersEvery is how often the holders that the node remembers are written to
// the home.
const holdersEvery = 5 * time.Minute

// maxHoldersFile bounds what is read of them: 2,048 holders take less than half.
const maxHoldersFile = 8 << 20

func (n *Node) holdersPath() string { return filepath.Join(JournalDir(n.cfg.Dir), "holders") }

// loadHolders returns what keepHolders wrote, nil if there is nothing of use.
func (n *Node) loadHolders() []byte {
	raw, err := durable.Read(n.holdersPath(), maxHoldersFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		n.log.Warn("holders known before are forgotten", "err", err)
		return nil
	}
	return raw
}

// keepHolders writes the holders that the node remembers, now and then and when
// ctx ends.
func (n *Node) keepHolders(ctx context.Context) {
	tick := time.NewTicker(holdersEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		if err := durable.Write(n.holdersPath(), n.host.Holders(), 0o600); err != nil {
			n.log.Warn("holders not kept", "err", err)
		}
	}
}

// PeerStatus describes a peer we are connected to.
type PeerStatus struct {
	Peer      string    `json:"peer"`
	Role      string    `json:"role"` // "validator", "custodian", "other", or "" if it has not said
	Groups    []int     `json:"groups"`
	Addr      string    `json:"addr"`
	Inbound   bool      `json:"inbound"` // it dialled
	Relayed   bool      `json:"relayed,omitempty"`
	Agent     string    `json:"agent"`
	Since     time.Time `json:"since"`
	LatencyUS int64     `json:"latency_us,omitempty"` // of its last hello
	Useful    time.Time `json:"useful,omitzero"`      // when it last gave a row or a description
}

// PeersStatus is whom a node knows.
type PeersStatus struct {
	Peers    []PeerStatus `json:"peers"`    // connected now
	Known    int          `json:"known"`    // custodians remembered, connected or not
	Answered int          `json:"answered"` // of them, those that have answered once
	Reach    ReachStatus  `json:"reachability"`
}

// Peers returns whom the node is connected to, and how many custodians it
// remembers.
func (n *Node) Peers() PeersStatus {
	validators := n.validators()
	s := PeersStatus{Peers: []PeerStatus{}, Reach: n.reach()}
	s.Known, s.Answered = n.host.KnownHolders()
	for _, p := range n.host.Peers() {
		s.Peers = append(s.Peers, peerStatus(p, slices.Contains(validators, p.Peer)))
	}
	return s
}

func peerStatus(p kad.PeerInfo, validator bool) PeerStatus {
	st := PeerStatus{
		Peer: p.Peer.String(), Groups: []int{}, Addr: p.Addr, Inbound: p.Inbound, Relayed: p.Relayed,
		Agent: p.Agent, Since: p.Since, LatencyUS: p.Latency.Microseconds(), Useful: p.Useful,
	}
	switch {
	case validator:
		st.Role = "validator"
	case p.Hello != nil && p.Hello.Custodian:
		st.Role = "custodian"
	case p.Hello != nil:
		st.Role = "other"
	}
	if p.Hello != nil {
		st.Groups = groupList(p.Hello.Groups)
	}
	return st
}

// groupList returns the groups of a set, never nil.
func groupList(set sampling.GroupSet) []int {
	list := []int{}
	for g := range set.All() {
		list = append(list, g)
	}
	return list
}
