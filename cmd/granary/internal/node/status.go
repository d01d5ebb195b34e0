package node

import (
	"crypto/ed25519"
	"encoding/hex"
	"net/netip"
	"time"

	"granary/ledger/light"
	"granary/sampling"
)

// Status tells how a node stands.
type Status struct {
	Chain     string         `json:"chain_id"`
	Peer      string         `json:"peer"`
	Publisher string         `json:"publisher,omitempty"` // ed25519 public key in hex
	Custodian bool           `json:"custodian"`
	Groups    []int          `json:"groups"`
	Addrs     []string       `json:"addrs"`
	Torrent   netip.AddrPort `json:"torrent"`
	Peers     []PeerStatus   `json:"peers"`
	Banned    []netip.Addr   `json:"banned"`
	Ledger    LedgerStatus   `json:"ledger"`
	Validator bool           `json:"validator"`
	Blocks    int            `json:"blocks"`
	Bytes     int64          `json:"bytes"` // on disk
	Quota     int64          `json:"quota"` // 0: no limit
}

// LedgerStatus is what the last look at the ledger gave.
type LedgerStatus struct {
	State  light.State `json:"state"` // "synced", "stale", "forked" or "unreachable"
	Height int64       `json:"height"`
	Time   time.Time   `json:"time"` // when the validators signed the head
	Size   uint64      `json:"size"` // entries in the log
	Root   string      `json:"root"`
	Err    string      `json:"error,omitempty"`
}

// setLedger remembers the outcome of an update.
func (n *Node) setLedger(st light.Status, err error) {
	s := LedgerStatus{State: st.State, Height: st.Height, Time: st.Time, Size: st.Head.Size, Root: st.Head.Root.String()}
	if err != nil {
		s.Err = err.Error()
	}
	n.mu.Lock()
	n.ledger = s
	n.mu.Unlock()
}

// PeerStatus describes a peer we are connected to.
type PeerStatus struct {
	Peer  string    `json:"peer"`
	Addr  string    `json:"addr"`
	Agent string    `json:"agent"`
	Since time.Time `json:"since"`
}

// Status returns how the node stands now.
func (n *Node) Status() (Status, error) {
	usage, err := n.store.Usage()
	if err != nil {
		return Status{}, err
	}
	s := Status{
		Chain: n.cfg.Genesis.ChainID, Peer: n.host.ID().String(), Custodian: n.cfg.Custodian,
		Addrs: n.host.Addrs(), Torrent: netip.AddrPortFrom(n.cfg.IP, uint16(n.swarm.Port())),
		Banned: n.swarm.Banned(),
		Blocks: usage.Blocks, Bytes: usage.Bytes, Quota: usage.Quota,
	}
	n.mu.Lock()
	s.Ledger, s.Validator = n.ledger, n.chain != nil
	n.mu.Unlock()
	for _, p := range n.host.Peers() {
		s.Peers = append(s.Peers, PeerStatus{Peer: p.Peer.String(), Addr: p.Addr, Agent: p.Agent, Since: p.Since})
	}
	if n.cfg.Publisher != nil {
		key := n.cfg.Publisher.Public().(ed25519.PublicKey)
		s.Publisher = hex.EncodeToString(key)
	}
	for g := range sampling.Groups {
		if n.groups&(1<<g) != 0 {
			s.Groups = append(s.Groups, g)
		}
	}
	return s, nil
}
