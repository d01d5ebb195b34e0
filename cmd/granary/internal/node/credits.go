package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"granary/ledger"
)

// CreditStatus is an account, proven, with all that moved its credits.
type CreditStatus struct {
	Key       string       `json:"key"`
	Credits   int64        `json:"credits"` // byte-days
	Opening   int64        `json:"opening"` // what it began with: the genesis' grant, or a newcomer's allowance
	Pending   uint64       `json:"pending,omitempty"`
	Moves     []CreditMove `json:"history"`             // the latest first
	Allowance int64        `json:"allowance,omitempty"` // what a key without an account may get to announce with
	Fee       int64        `json:"fee"`                 // what a block, a transfer and a step of a name cost at least
}

// CreditMove is one entry that moved the credits of an account.
type CreditMove struct {
	Index   uint64    `json:"index"`
	Height  int64     `json:"height"`
	Time    time.Time `json:"time"`
	What    string    `json:"what"`          // "announce", "name", "sent", "received" or "grant"
	About   string    `json:"about"`         // the block, the name, or the other key
	Credits int64     `json:"credits"`       // what the account has more: below 0, less, the fee included
	Fee     int64     `json:"fee,omitempty"` // of that, what it paid for sending
	Balance int64     `json:"balance"`       // afterwards
}

// Credit returns the account of a key; empty: of this home's publisher.
func (n *Node) Credit(ctx context.Context, key string, patience time.Duration) (CreditStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var who ledger.PublicKey
	switch {
	case key != "":
		if err := who.UnmarshalText([]byte(key)); err != nil {
			return CreditStatus{}, fmt.Errorf("%w: key: %w", ledger.ErrMalformed, err)
		}
	case n.cfg.Publisher == nil:
		return CreditStatus{}, errors.New("this node has no publisher key")
	default:
		who = ledger.KeyOf(n.cfg.Publisher)
	}
	if err := n.synced(ctx); err != nil {
		return CreditStatus{}, fmt.Errorf("%w: %w", ErrOffline, err)
	}
	return n.credit(ctx, who)
}

// credit is Credit as of the verified head.
func (n *Node) credit(ctx context.Context, who ledger.PublicKey) (CreditStatus, error) {
	s := CreditStatus{Key: who.String(), Moves: []CreditMove{}}
	a, err := n.light.Account(ctx, who)
	if err != nil {
		return s, err
	}
	params, err := n.light.Params(ctx)
	if err != nil {
		return s, err
	}
	s.Fee = params.Fee
	if a == (ledger.Account{}) {
		s.Allowance = params.Allowance
		return s, nil
	}
	s.Credits, s.Pending, s.Opening = a.Credits, a.Pending, a.Credits
	history, err := n.light.AccountHistory(ctx, who, a)
	if err != nil {
		return s, err
	}
	for _, e := range history {
		m := CreditMove{Index: e.Index, Height: e.Entry.Height, Time: e.Entry.Time, Balance: s.Opening}
		switch tx := e.Entry.Tx; {
		case e.Entry.Kind == ledger.EntryEnacted:
			proposed, err := n.light.Entry(ctx, e.Entry.Enacted.Proposal)
			if err != nil {
				return s, err
			}
			m.What, m.Credits = "grant", proposed.Tx.Change.Grant.Credits
			m.About = fmt.Sprintf("#%d", e.Entry.Enacted.Proposal)
		case tx.Kind == ledger.KindAnnounce:
			m.What, m.About, m.Credits = "announce", tx.Record.ID().String(), -tx.Pay
		case tx.Kind == ledger.KindName:
			m.What, m.About, m.Credits = "name", "@"+tx.Naming.Name, -tx.Pay
		case tx.Sender == who:
			m.What, m.About, m.Credits, m.Fee = "sent", tx.Transfer.To.String(), -tx.Transfer.Credits-tx.Pay, tx.Pay
		default:
			m.What, m.About, m.Credits = "received", tx.Sender.String(), tx.Transfer.Credits
		}
		s.Opening -= m.Credits
		s.Moves = append(s.Moves, m)
	}
	return s, nil
}

// Transfer moves credits of the home's publisher key to another, and returns its
// account when that is in the log.
func (n *Node) Transfer(ctx context.Context, to string, credits int64, patience time.Duration) (CreditStatus, error) {
	if n.cfg.Publisher == nil {
		return CreditStatus{}, errors.New("this node has no publisher key")
	}
	t := ledger.Transfer{Credits: credits}
	if err := t.To.UnmarshalText([]byte(to)); err != nil {
		return CreditStatus{}, fmt.Errorf("%w: key: %w", ledger.ErrMalformed, err)
	}
	if t.To == ledger.KeyOf(n.cfg.Publisher) {
		return CreditStatus{}, fmt.Errorf("%w: that is the key whose credits are to move", ledger.ErrMalformed)
	}
	return n.spent(ctx, n.cfg.Publisher, ledger.Tx{Kind: ledger.KindTransfer, Transfer: t}, patience)
}

func (n *Node) spent(ctx context.Context, key ed25519.PrivateKey, tx ledger.Tx, patience time.Duration) (CreditStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := n.commit(ctx, key, tx, patience); err != nil {
		return CreditStatus{}, err
	}
	return n.credit(ctx, ledger.KeyOf(key))
}
