package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"granary/erasure"
	"granary/ledger"
)

// NameStatus is what the ledger has about a name, proven.
type NameStatus struct {
	Name    string     `json:"name"`
	Owner   string     `json:"owner,omitempty"`  // key; empty: nobody's
	Target  string     `json:"target,omitempty"` // ID of the block that it points at
	Until   *time.Time `json:"until,omitempty"`  // when it lapses, or has
	Owned   bool       `json:"owned"`            // by somebody, now
	Yours   bool       `json:"yours"`            // by this home's publisher key
	Entries uint64     `json:"entries"`          // in the log, about it
	Cost    int64      `json:"cost_per_term"`    // in credits
	Fee     int64      `json:"fee"`              // what a step costs at least
	Term    string     `json:"term"`
}

// NameStep is one entry about a name.
type NameStep struct {
	Index  uint64    `json:"index"`
	Height int64     `json:"height"`
	Time   time.Time `json:"time"`
	By     string    `json:"by"`
	Terms  uint64    `json:"terms,omitempty"`
	Pay    int64     `json:"paid"` // in credits
	Target string    `json:"target,omitempty"`
	Owner  string    `json:"owner,omitempty"` // to whom it was given
}

// NameChange is what to do with a name. Terms below 0: one if nobody owns it.
type NameChange struct {
	Name   string `json:"name"`
	Terms  int    `json:"terms"`
	Target string `json:"target"` // a reference; empty: as it is
	Owner  string `json:"owner"`  // a key in hex; empty: as it is
}

// resolveName returns what a name points at now.
func (n *Node) resolveName(ctx context.Context, name string) (erasure.ID, error) {
	got, err := n.light.Name(ctx, name)
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return erasure.ID{}, fmt.Errorf("nobody owns @%s: %w", name, ledger.ErrNotFound)
	case err != nil:
		return erasure.ID{}, fmt.Errorf("@%s: %w", name, err)
	case !got.Owned(time.Now()):
		return erasure.ID{}, fmt.Errorf("@%s lapsed on %s: %w", name, got.Until.Format(time.RFC3339), ledger.ErrNotFound)
	case got.Target == erasure.ID{}:
		return erasure.ID{}, fmt.Errorf("@%s points at nothing: %w", name, ledger.ErrNotFound)
	}
	return got.Target, nil
}

// Name returns what the ledger has about a name; one that nobody ever owned is
// no error.
func (n *Node) Name(ctx context.Context, name string, patience time.Duration) (NameStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := ledger.CheckName(name); err != nil {
		return NameStatus{}, err
	}
	if err := n.synced(ctx); err != nil {
		return NameStatus{}, fmt.Errorf("%w: %w", ErrOffline, err)
	}
	return n.name(ctx, name)
}

// name is Name as of the verified head.
func (n *Node) name(ctx context.Context, name string) (NameStatus, error) {
	s := NameStatus{Name: name}
	got, err := n.light.Name(ctx, name)
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		return s, err
	}
	if err == nil {
		s.Until, s.Entries, s.Owned = &got.Until, got.Trail.Count, got.Owned(time.Now())
		if s.Owned {
			s.Owner = got.Owner.String()
			s.Yours = n.cfg.Publisher != nil && got.Owner == ledger.KeyOf(n.cfg.Publisher)
		}
		if s.Owned && got.Target != (erasure.ID{}) {
			s.Target = got.Target.String()
		}
	}
	params, err := n.light.Params(ctx)
	s.Cost, s.Fee, s.Term = params.NameCost, params.Fee, params.NameTerm.String()
	return s, err
}

// NameHistory returns all entries about a name, the latest first.
func (n *Node) NameHistory(ctx context.Context, name string, patience time.Duration) ([]NameStep, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := ledger.CheckName(name); err != nil {
		return nil, err
	}
	if err := n.synced(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOffline, err)
	}
	got, err := n.light.Name(ctx, name)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, fmt.Errorf("nobody ever owned @%s: %w", name, ledger.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	all, err := n.light.NameHistory(ctx, got)
	if err != nil {
		return nil, err
	}
	steps := []NameStep{}
	for _, e := range all {
		tx := e.Entry.Tx
		step := NameStep{
			Index: e.Index, Height: e.Entry.Height, Time: e.Entry.Time, By: tx.Sender.String(),
			Terms: tx.Naming.Terms, Pay: tx.Pay,
		}
		if id := tx.Naming.Target; id != (erasure.ID{}) {
			step.Target = id.String()
		}
		if to := tx.Naming.Owner; to != (ledger.PublicKey{}) {
			step.Owner = to.String()
		}
		steps = append(steps, step)
	}
	return steps, nil
}

// SetName does what c says with the home's publisher key, and returns how the
// name stands when that is in the log.
func (n *Node) SetName(ctx context.Context, c NameChange, patience time.Duration) (NameStatus, error) {
	if n.cfg.Publisher == nil {
		return NameStatus{}, errors.New("this node has no publisher key")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	now, err := n.Name(ctx, c.Name, patience)
	if err != nil {
		return now, err
	}
	if now.Owned && !now.Yours { // before anything is said about what it would cost
		return now, fmt.Errorf("%w: %q is that of %s", ledger.ErrNotOwner, c.Name, now.Owner)
	}
	change := ledger.Naming{Name: c.Name, Terms: uint64(max(c.Terms, 0))}
	if c.Terms < 0 && !now.Owned {
		change.Terms = 1
	}
	if c.Target != "" {
		ref, err := ParseRef(c.Target)
		if err != nil {
			return now, err
		}
		if change.Target, err = n.ResolveInLedger(ctx, ref, patience); err != nil {
			return now, err
		}
	}
	if c.Owner != "" {
		if err := change.Owner.UnmarshalText([]byte(c.Owner)); err != nil {
			return now, fmt.Errorf("%w: owner: %w", ledger.ErrMalformed, err)
		}
	}
	if _, err := n.commit(ctx, n.cfg.Publisher, ledger.Tx{Kind: ledger.KindName, Naming: change}, patience); err != nil {
		return now, err
	}
	return n.name(ctx, c.Name)
}
