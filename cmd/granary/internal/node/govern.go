package node

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/ledger"
)

// NetworkStatus is who decides in a network and by what parameters, proven, and
// what is put to the vote.
type NetworkStatus struct {
	Validators []ValidatorStatus `json:"validators"`
	Total      int64             `json:"total_power"`
	Params     ledger.Params     `json:"params"`
	Proposals  []ProposalStatus  `json:"proposals"` // open ones
}

// ValidatorStatus is one validator.
type ValidatorStatus struct {
	Name      string           `json:"name"`
	Power     int64            `json:"power"`
	Consensus ledger.PublicKey `json:"consensus"`
	Attest    ledger.PublicKey `json:"attest"`
	Proof     ledger.Proof     `json:"proof"` // by the attest key, that it is this validator's
	Peer      string           `json:"peer"`
	You       bool             `json:"you"` // an attest key of this home speaks for it

	// SignedTwice is the height at which it was last seen to sign two different
	// votes, which is proven; 0: at none that is known.
	SignedTwice int64 `json:"signed_twice_height,omitempty"`
}

// ProposalStatus is an open proposal.
type ProposalStatus struct {
	Index    uint64    `json:"index"` // in the log
	Proposer string    `json:"proposer"`
	What     string    `json:"what"`
	Voters   []string  `json:"voters"`
	Power    int64     `json:"power"` // of those in favour; more than 2/3 of all enacts it
	Deadline time.Time `json:"deadline"`
}

// Network returns how the network is governed now.
func (n *Node) Network(ctx context.Context, patience time.Duration) (NetworkStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := n.synced(ctx); err != nil {
		return NetworkStatus{}, fmt.Errorf("%w: %w", ErrOffline, err)
	}
	return n.network(ctx)
}

func (n *Node) network(ctx context.Context) (NetworkStatus, error) {
	s := NetworkStatus{Validators: []ValidatorStatus{}, Proposals: []ProposalStatus{}}
	set, params, err := n.light.Network(ctx)
	if err != nil {
		return s, err
	}
	s.Total, s.Params = ledger.Power(set), params
	var own []ed25519.PrivateKey
	if n.cfg.AttestKeys != nil {
		if own, err = n.cfg.AttestKeys(); err != nil {
			return s, err
		}
	}
	names := map[ledger.PublicKey]string{}
	for _, v := range set {
		names[v.Consensus] = v.Name
		id, err := peer.IDFromBytes(v.Peer)
		if err != nil {
			n.log.Debug("peer ID of a validator not read", "err", err)
		}
		s.Validators = append(s.Validators, ValidatorStatus{
			Name: v.Name, Power: v.Power, Consensus: v.Consensus, Attest: v.Attest, Proof: v.Proof, Peer: id.String(),
			You: slices.ContainsFunc(own, func(k ed25519.PrivateKey) bool { return ledger.KeyOf(k) == v.Attest }),
		})
	}
	all, err := n.light.Proposals(ctx, set)
	if err != nil {
		return s, err
	}
	for _, p := range all {
		if !p.Open(time.Now()) {
			continue
		}
		out := ProposalStatus{Index: p.Index, Proposer: names[p.Proposer], What: Describe(p.Change, names, params), Deadline: p.Deadline, Voters: []string{}}
		for _, v := range set {
			if slices.Contains(p.Voters, v.Consensus) {
				out.Voters = append(out.Voters, v.Name)
				out.Power += v.Power
			}
		}
		s.Proposals = append(s.Proposals, out)
	}
	n.markTwice(ctx, s.Validators)
	return s, nil
}

// evidencePatience is how long evidence of double signing is waited for: the rest
// is worth showing without it.
const evidencePatience = 6 * time.Second

// markTwice adds at which height validators signed twice, as far as providers have it.
func (n *Node) markTwice(ctx context.Context, all []ValidatorStatus) {
	ctx, cancel := context.WithTimeout(ctx, evidencePatience)
	defer cancel()
	found, err := n.light.DoubleSigns(ctx)
	if err != nil {
		n.log.Debug("evidence of double signing not read", "err", err)
	}
	for _, d := range found { // by height
		for i := range all {
			if all[i].Consensus == d.Validator {
				all[i].SignedTwice = d.Height
			}
		}
	}
}

// Describe says in words what a change would do, where names are those of
// validators by consensus key and now the present parameters.
func Describe(c ledger.Change, names map[ledger.PublicKey]string, now ledger.Params) string {
	switch c.Kind {
	case ledger.ChangeValidator:
		if was, ok := names[c.Validator.Consensus]; ok {
			return fmt.Sprintf("%s becomes %s with power %d, attest key %.16s…", was, c.Validator.Name, c.Validator.Power, c.Validator.Attest)
		}
		return fmt.Sprintf("%s joins with power %d, consensus key %.16s…", c.Validator.Name, c.Validator.Power, c.Validator.Consensus)
	case ledger.ChangeRemove:
		return fmt.Sprintf("%s leaves", names[c.Remove])
	case ledger.ChangeGrant:
		return fmt.Sprintf("%s gets %d credits", c.Grant.Key, c.Grant.Credits)
	}
	return "parameters: " + differences(now, c.Params)
}

// differences lists the parameters in which b differs from a.
func differences(a, b ledger.Params) string {
	out := ""
	for _, p := range []struct {
		name     string
		old, new any
	}{
		{"announce_window", a.AnnounceWindow, b.AnnounceWindow},
		{"allowance", a.Allowance, b.Allowance},
		{"allowance_per_day", a.AllowancePerDay, b.AllowancePerDay},
		{"max_pending", a.MaxPending, b.MaxPending},
		{"vote_window", a.VoteWindow, b.VoteWindow},
		{"name_term", a.NameTerm, b.NameTerm},
		{"name_cost", a.NameCost, b.NameCost},
		{"fee", a.Fee, b.Fee},
	} {
		if p.old != p.new {
			out += fmt.Sprintf(", %s %v (now %v)", p.name, p.new, p.old)
		}
	}
	if out == "" {
		return "as they are"
	}
	return out[2:]
}

// Decided says where a proposal stands after a word of ours.
type Decided struct {
	Index   uint64 `json:"index"` // of the proposal in the log
	Enacted bool   `json:"enacted"`
}

// Propose puts a change to the vote, in the name of the validator for which this
// home has the attest key.
func (n *Node) Propose(ctx context.Context, c ledger.Change, patience time.Duration) (Decided, error) {
	return n.say(ctx, ledger.Tx{Kind: ledger.KindPropose, Change: c}, patience)
}

// Vote agrees to a proposal, or takes that back.
func (n *Node) Vote(ctx context.Context, v ledger.Vote, patience time.Duration) (Decided, error) {
	return n.say(ctx, ledger.Tx{Kind: ledger.KindVote, Vote: v}, patience)
}

// say commits a validator's transaction, and looks whether a change followed.
func (n *Node) say(ctx context.Context, tx ledger.Tx, patience time.Duration) (Decided, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := n.synced(ctx); err != nil {
		return Decided{}, fmt.Errorf("%w: %w", ErrOffline, err)
	}
	key, err := n.attestKey(ctx)
	if err != nil {
		return Decided{}, err
	}
	e, err := n.commit(ctx, key, tx, patience)
	if err != nil {
		return Decided{}, err
	}
	d := Decided{Index: e.Index}
	if tx.Kind == ledger.KindVote {
		d.Index = tx.Vote.Proposal
	}
	// What follows from a transaction stands behind it, in the same head.
	next, err := n.light.Entry(ctx, e.Index+1)
	d.Enacted = err == nil && next.Kind == ledger.EntryEnacted && next.Enacted.Proposal == d.Index
	return d, nil
}
