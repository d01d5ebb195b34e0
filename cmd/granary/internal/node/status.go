package node

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"granary/cmd/granary/internal/deny"
	"granary/cmd/granary/internal/traffic"
	"granary/ledger"
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
	StandIns  []int          `json:"stand_ins,omitempty"` // groups kept because nobody owes them
	Addrs     []string       `json:"addrs"`
	Torrent   netip.AddrPort `json:"torrent"`
	Peers     []PeerStatus   `json:"peers"`
	Reach     ReachStatus    `json:"reachability"`
	Banned    []netip.Addr   `json:"banned"`
	Ledger    LedgerStatus   `json:"ledger"`
	Consensus *ChainStatus   `json:"consensus,omitempty"` // of a node that runs the chain
	Validator bool           `json:"validator"`
	Abstains  string         `json:"abstains,omitempty"` // why this validator attests nothing: its disk or quota is full
	Denied    deny.Status    `json:"denied"`
	Seeding   Seeding        `json:"seeding"`
	Traffic   traffic.Used   `json:"traffic"`
	Lent      Lent           `json:"lent"`
	Conns     int            `json:"connections"` // of torrents
	Blocks    int            `json:"blocks"`
	Backlog   int            `json:"backlog"` // announced blocks that are owed and not kept yet
	Storage   Storage        `json:"storage"`
	Parity    *ParityStatus  `json:"parity_on_demand,omitempty"` // absent: all of it is kept
	Sampled   Sampled        `json:"sampled"`                    // since the node started
}

// LedgerStatus is what the last look at the ledger gave.
type LedgerStatus struct {
	State  light.State `json:"state"` // "synced", "lagging", "stale", "forked" or "unreachable"
	Height int64       `json:"height"`
	Time   time.Time   `json:"time,omitzero"` // when the validators signed the head
	Size   uint64      `json:"size"`          // entries in the log
	Root   string      `json:"root"`
	Behind int64       `json:"behind,omitempty"` // heights above it that a provider has and could not be verified
	Err    string      `json:"error,omitempty"`

	// Providers is how many nodes answered truthfully, as far as can be told; a
	// validator reads its own chain. Fewer than 3 can keep news back.
	Providers int `json:"providers"`

	// Checkpoint is what is verified as others can paste it, HEIGHT:HASH; empty
	// before anything is.
	Checkpoint string `json:"checkpoint,omitempty"`
}

// setLedger remembers the outcome of an update.
func (n *Node) setLedger(st light.Status, err error) {
	s := LedgerStatus{State: st.State, Height: st.Height, Time: st.Time, Size: st.Head.Size, Root: st.Head.Root.String(), Behind: st.Behind, Providers: st.Providers}
	if point, ok := n.light.Checkpoint(); ok {
		s.Checkpoint = point.String()
	}
	if err != nil {
		s.Err = err.Error()
	}
	n.mu.Lock()
	n.ledger = s
	n.mu.Unlock()
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
		Banned: n.swarm.Banned(), Seeding: n.Seeding(), Traffic: n.traffic.Used(), Lent: n.Lent(), Conns: n.swarm.Connections(),
		Blocks: usage.Blocks,
	}
	if s.Storage, err = n.storage(usage.Bytes, usage.Quota); err != nil {
		return Status{}, err
	}
	n.mu.Lock()
	s.Ledger, s.Validator, s.Abstains = n.ledger, n.chain != nil, n.abstains
	s.Backlog = len(n.pending) + len(n.waiting) + len(n.later)
	n.mu.Unlock()
	known := n.Peers()
	s.Peers, s.Reach, s.Consensus = known.Peers, known.Reach, n.chainStatus()
	if n.cfg.Publisher != nil {
		key := n.cfg.Publisher.Public().(ed25519.PublicKey)
		s.Publisher = hex.EncodeToString(key)
	}
	s.Denied = n.deny.Status()
	s.Groups, s.Sampled = groupList(n.groups), n.Sampled()
	s.StandIns = groupList(sampling.GroupSet(n.standIns.Load()))
	s.Parity = n.Parity()
	return s, nil
}

// Standing is what the ledger has about a block.
type Standing struct {
	Record
	Index    uint64 `json:"index"`  // of the announcement in the log
	Status   string `json:"status"` // "pending", "certified" or "expired"
	Height   int64  `json:"height"` // of the announcement
	Decided  int64  `json:"decided_height,omitempty"`
	Power    int64  `json:"voting_power"` // that attested by now
	Total    int64  `json:"total_power"`
	KeepDays int    `json:"keep_days"`
	Owner    string `json:"publisher"`
}

// Standing asks the ledger about a block. It returns ledger.ErrNotFound for one
// that was never announced.
func (n *Node) Standing(ctx context.Context, ref Ref, patience time.Duration) (Standing, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	id, err := n.ResolveInLedger(ctx, ref, patience)
	if err != nil {
		return Standing{}, err
	}
	found, err := n.light.Find(ctx, id)
	if err != nil {
		return Standing{}, fmt.Errorf("%s: %w", id.Short(), err)
	}
	r := found.Record()
	s := Standing{
		Record: NewRecord(r.Info), Index: found.Index, Status: found.Status.String(),
		Height: found.Announcement.Height, Power: found.Power, Total: found.Total,
		KeepDays: int(r.Keep), Owner: r.Publisher.String(),
	}
	if found.Status != ledger.Pending {
		s.Decided, s.Power, s.Total = found.Outcome.Height, found.Outcome.Outcome.Power, found.Outcome.Outcome.Total
	}
	return s, nil
}

// Submit hands a signed transaction to the ledger.
func (n *Node) Submit(ctx context.Context, raw []byte) error {
	if err := n.synced(ctx); err != nil {
		return err
	}
	return n.light.Submit(ctx, raw)
}
