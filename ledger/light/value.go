package light

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"granary/ledger"
)

// maxTrail is how many entries about one thing are asked for: a name that is
// pointed elsewhere every day for ten years has fewer.
const maxTrail = 4096

// Value returns what the state holds under a key, proven by the verified head:
// nil if it holds nothing. See ledger.AccountKey and its like.
func (c *Client) Value(ctx context.Context, key []byte) ([]byte, error) {
	value, _, err := c.value(ctx, key)
	return value, err
}

// value is Value, and says which head proves it.
func (c *Client) value(ctx context.Context, key []byte) (value []byte, h ledger.Head, err error) {
	h, _ = c.Head()
	if h.Size == 0 {
		return nil, h, fmt.Errorf("%w: nothing is verified yet", ErrUnreachable)
	}
	err = c.each(ctx, func(peer string) error {
		r, err := call[valueReply](ctx, c, peer, kindValue, valueRequest{Key: key, Size: h.Size})
		if errors.Is(err, ErrNotInLedger) {
			return silence{fmt.Errorf("it does not have the head of size %d yet", h.Size)}
		}
		if err != nil {
			return err
		}
		if value = r.Value; len(value) == 0 {
			value = nil
		}
		return ledger.VerifyValue(h, key, value, ledger.ValueProof{Path: r.Path, Other: r.Other})
	})
	return value, h, err
}

// Account returns what belongs to a key, proven: nothing for one that never had
// an account. What waits for a height is not in it.
func (c *Client) Account(ctx context.Context, who ledger.PublicKey) (ledger.Account, error) {
	value, err := c.Value(ctx, ledger.AccountKey(who))
	if err != nil || value == nil {
		return ledger.Account{}, err
	}
	return ledger.ParseAccount(value)
}

// Name returns what is known about a name, proven: ErrNotInLedger if nobody ever
// owned it. See ledger.Name.Owned for one that has lapsed.
func (c *Client) Name(ctx context.Context, name string) (ledger.Name, error) {
	value, err := c.Value(ctx, ledger.NameKey(name))
	if err == nil && value == nil {
		err = fmt.Errorf("name %s: %w", name, ErrNotInLedger)
	}
	if err != nil {
		return ledger.Name{}, err
	}
	return ledger.ParseName(name, value)
}

// Params returns the parameters in force, proven.
func (c *Client) Params(ctx context.Context) (ledger.Params, error) {
	params, _, err := c.network(ctx)
	return params, err
}

func (c *Client) network(ctx context.Context) (ledger.Params, uint64, error) {
	value, err := c.Value(ctx, ledger.NetworkKey())
	if err != nil {
		return ledger.Params{}, 0, err
	}
	return ledger.ParseNetwork(value)
}

// Network returns the validators and parameters in force, proven.
func (c *Client) Network(ctx context.Context) ([]ledger.Validator, ledger.Params, error) {
	params, number, err := c.network(ctx)
	if err != nil {
		return nil, params, err
	}
	set, _, err := c.set(ctx, number)
	return set, params, err
}

// seats is a validator set, and the number of the latest one before it from which
// somebody has left since; 0 if nobody has.
type seats struct {
	set    []ledger.Validator
	before uint64
}

// maxSets is how many validator sets a client remembers.
const maxSets = 32

// set returns a validator set, proven, and the number of the one before it that
// is meant in seats. It never changes, so it does not matter if the head has moved
// on, and it is asked for once.
func (c *Client) set(ctx context.Context, number uint64) ([]ledger.Validator, uint64, error) {
	c.mu.Lock()
	s, known := c.sets[number]
	c.mu.Unlock()
	if known {
		return slices.Clone(s.set), s.before, nil
	}
	value, err := c.Value(ctx, ledger.SetKey(number))
	if err != nil {
		return nil, 0, err
	}
	if s.set, s.before, err = ledger.ParseValidators(value); err != nil {
		return nil, 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sets) >= maxSets {
		clear(c.sets)
	}
	c.sets[number] = s
	return slices.Clone(s.set), s.before, nil
}

// Former returns those who are validators no more, but were when one of the last
// changes was made by which anybody left: those who left last first, each once,
// proven. What they attested they owe until its keep ends.
func (c *Client) Former(ctx context.Context, changes int) ([]ledger.Validator, error) {
	_, number, err := c.network(ctx)
	if err != nil {
		return nil, err
	}
	known, before, err := c.set(ctx, number)
	if err != nil {
		return nil, err
	}
	var former []ledger.Validator
	for ; changes > 0 && number > 0; changes-- {
		var set []ledger.Validator
		number = before
		if set, before, err = c.set(ctx, number); err != nil {
			return nil, err
		}
		for _, v := range set {
			if !slices.ContainsFunc(known, func(o ledger.Validator) bool { return o.Consensus == v.Consensus }) {
				known, former = append(known, v), append(former, v)
			}
		}
	}
	return former, nil
}

// Proposals returns what validators of a set have put to the vote, proven: for
// each the latest, whether it is open or not.
func (c *Client) Proposals(ctx context.Context, set []ledger.Validator) ([]ledger.Proposal, error) {
	var out []ledger.Proposal
	for _, v := range set {
		value, err := c.Value(ctx, ledger.ProposedKey(v.Consensus))
		if err != nil {
			return nil, err
		}
		if value == nil {
			continue
		}
		index, err := ledger.ParseProposed(value)
		if err != nil {
			return nil, err
		}
		if index == 0 {
			continue
		}
		e, err := c.Entry(ctx, index)
		if err == nil {
			value, err = c.Value(ctx, ledger.ProposalKey(index))
		}
		if err != nil {
			return nil, err
		}
		p, err := ledger.ParseProposal(index, e.Tx.Change, value)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// Indexed is an entry of the log, and its number.
type Indexed struct {
	Index uint64
	Entry ledger.Entry
}

// NameHistory returns the entries about a name, the latest first, and that these
// are all: their number is proven, too. Of more than 4,096 it returns the latest,
// of which a provider could have left some out.
func (c *Client) NameHistory(ctx context.Context, n ledger.Name) ([]Indexed, error) {
	return c.trail(ctx, ledger.NameKey(n.Name), n.Trail, func(e ledger.Entry) (bool, error) {
		return e.Kind == ledger.EntryTx && e.Tx.Kind == ledger.KindName && e.Tx.Naming.Name == n.Name, nil
	})
}

// AccountHistory returns the entries that moved the credits of an account, as
// NameHistory does.
func (c *Client) AccountHistory(ctx context.Context, who ledger.PublicKey, a ledger.Account) ([]Indexed, error) {
	return c.trail(ctx, ledger.AccountKey(who), a.Trail, func(e ledger.Entry) (bool, error) {
		switch {
		case e.Kind == ledger.EntryEnacted:
			proposed, err := c.Entry(ctx, e.Enacted.Proposal)
			change := proposed.Tx.Change
			return change.Kind == ledger.ChangeGrant && change.Grant.Key == who, err
		case e.Kind != ledger.EntryTx:
			return false, nil
		case e.Tx.Kind == ledger.KindTransfer && e.Tx.Transfer.To == who:
			return true, nil
		}
		return e.Tx.Sender == who && (e.Tx.Pay > 0 || e.Tx.Kind == ledger.KindTransfer), nil
	})
}

// trail asks for the entries of a trail. That each is in the log and about the
// right thing, in descending order and as many as the trail has, leaves no room
// for others.
func (c *Client) trail(ctx context.Context, key []byte, t ledger.Trail, about func(ledger.Entry) (bool, error)) ([]Indexed, error) {
	h, _ := c.Head()
	if t.Count > 0 && t.Latest >= h.Size {
		return nil, fmt.Errorf("entry %d of %d: %w", t.Latest, h.Size, ErrNotInLedger)
	}
	var out []Indexed
	err := c.each(ctx, func(peer string) (err error) {
		out, err = c.trailBy(ctx, peer, key, t, h, about)
		return err
	})
	return out, err
}

// trailBy asks one provider for all of a trail: which of two left something out
// could not be told.
func (c *Client) trailBy(ctx context.Context, peer string, key []byte, t ledger.Trail, h ledger.Head, about func(ledger.Entry) (bool, error)) ([]Indexed, error) {
	var out []Indexed
	want := min(t.Count, maxTrail)
	for uint64(len(out)) < want {
		// A page begins with the last entry of the one before.
		from, known := t.Latest, 0
		if len(out) > 0 {
			from, known = out[len(out)-1].Index, 1
		}
		count := min(want-uint64(len(out)-known), MaxEntries)
		r, err := call[entriesReply](ctx, c, peer, kindTrail, trailRequest{Key: key, From: from, Count: count, Size: h.Size})
		if errors.Is(err, ErrNotInLedger) {
			return nil, silence{fmt.Errorf("it has no entry %d about that", from)}
		}
		if err != nil {
			return nil, err
		}
		page, err := checkTrail(r, h, from, count, about)
		if err != nil {
			return nil, err
		}
		if len(page) <= known {
			return nil, fmt.Errorf("%d entries about one thing, of %d", len(out), t.Count)
		}
		out = append(out, page[known:]...)
	}
	return out, nil
}

// checkTrail checks that a reply holds entries about one thing, from number from
// back.
func checkTrail(r entriesReply, h ledger.Head, from, count uint64, about func(ledger.Entry) (bool, error)) ([]Indexed, error) {
	if uint64(len(r.Entries)) > count {
		return nil, fmt.Errorf("%d entries, want %d", len(r.Entries), count)
	}
	var page []Indexed
	for i, p := range r.Entries {
		if i == 0 && p.Index != from || i > 0 && p.Index >= page[i-1].Index {
			return nil, fmt.Errorf("entry %d after %d entries of the trail of %d", p.Index, i, from)
		}
		e, err := p.entry(h)
		if err != nil {
			return nil, err
		}
		if yes, err := about(e); err != nil {
			return nil, err
		} else if !yes {
			return nil, fmt.Errorf("entry %d is about something else", p.Index)
		}
		page = append(page, Indexed{p.Index, e})
	}
	return page, nil
}
