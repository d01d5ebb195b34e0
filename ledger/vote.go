package ledger

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// Proposal is a change that is put to the vote.
type Proposal struct {
	Index    uint64 // of its entry in the log
	Proposer PublicKey
	Change   Change
	Deadline time.Time
	Voters   []PublicKey // consensus keys of those in favour
	Decision uint64      // the entry that enacted it; 0: none
}

// Open reports whether it can still be voted on at a time. A newer proposal of
// the same validator ends it too, which Proposals knows.
func (p Proposal) Open(now time.Time) bool { return p.Decision == 0 && now.Before(p.Deadline) }

// Proposals returns the proposals that are open, by validator.
func (s *State) Proposals() ([]Proposal, error) {
	set, err := s.Validators()
	if err != nil {
		return nil, err
	}
	var out []Proposal
	for _, v := range set {
		w, err := s.spoken(v.Consensus)
		if err != nil {
			return nil, err
		}
		index := w.Proposal
		if index == 0 {
			continue
		}
		var p proposal
		if err := s.must(keyProposal(index), &p); err != nil {
			return nil, err
		}
		e, err := s.Entry(index)
		if err != nil {
			return nil, err
		}
		if out = append(out, p.exported(index, e.Tx.Change)); !out[len(out)-1].Open(s.Time()) {
			out = out[:len(out)-1]
		}
	}
	return out, nil
}

func (p proposal) exported(index uint64, c Change) Proposal {
	out := Proposal{Index: index, Proposer: p.Proposer, Change: c, Deadline: fromMillis(p.Deadline), Decision: p.Decision}
	for key := range slices.Chunk(p.Voters, len(PublicKey{})) {
		if len(key) == len(PublicKey{}) {
			out.Voters = append(out.Voters, PublicKey(key))
		}
	}
	return out
}

// validator returns the validator of the present set whose attest key sender is.
func (s *State) validator(sender PublicKey) (Validator, error) {
	set, err := s.Validators()
	if err != nil {
		return Validator{}, err
	}
	for _, v := range set {
		if v.Attest == sender {
			return v, nil
		}
	}
	return Validator{}, fmt.Errorf("%w: %s", ErrNotValidator, sender)
}

// open returns a proposal that can be voted on.
func (s *State) open(index uint64) (p proposal, err error) {
	found, err := s.get(keyProposal(index), &p)
	if err != nil || !found {
		return p, firstError(err, fmt.Errorf("%w: proposal at entry %d", ErrUnknown, index))
	}
	proposer, err := s.spoken(p.Proposer)
	if err != nil {
		return p, err
	}
	set, err := s.Validators()
	if err != nil {
		return p, err
	}
	if p.Decision != 0 || proposer.Proposal != index || s.meta.Millis >= p.Deadline || place(set, p.Proposer) < 0 {
		return p, fmt.Errorf("%w: proposal at entry %d", ErrExpired, index)
	}
	return p, nil
}

// carried reports whether those in favour have more than 2/3 of the power of the
// present set, and how much.
func (s *State) carried(voters []byte) (power, total int64, yes bool, err error) {
	set, err := s.Validators()
	if err != nil {
		return 0, 0, false, err
	}
	for _, v := range set {
		if voteOf(voters, v.Consensus) >= 0 {
			power += v.Power
		}
	}
	total = Power(set)
	return power, total, power*3 > total*2, nil
}

// voteOf returns where a validator's key stands among voters, -1 if nowhere.
func voteOf(voters []byte, key PublicKey) int {
	for i := 0; i+len(key) <= len(voters); i += len(key) {
		if bytes.Equal(voters[i:i+len(key)], key[:]) {
			return i
		}
	}
	return -1
}

// voted returns voters after a validator's word.
func voted(voters []byte, key PublicKey, approve bool) []byte {
	i := voteOf(voters, key)
	switch {
	case approve && i < 0:
		return slices.Concat(voters, key[:])
	case !approve && i >= 0:
		return slices.Concat(voters[:i], voters[i+len(key):])
	}
	return voters
}

func (s *State) checkVote(v Validator, vote Vote) error {
	p, err := s.open(vote.Proposal)
	if err != nil {
		return err
	}
	if (voteOf(p.Voters, v.Consensus) >= 0) == vote.Approve {
		return fmt.Errorf("%w: vote on entry %d", ErrAttested, vote.Proposal)
	}
	if !vote.Approve {
		return nil // whoever takes a word back decides nothing
	}
	if _, _, yes, err := s.carried(voted(p.Voters, v.Consensus, true)); err != nil || !yes {
		return err
	}
	e, err := s.Entry(vote.Proposal)
	if err != nil {
		return err
	}
	if _, err = s.changed(e.Tx.Change); err != nil {
		return err
	}
	return s.sameAttestKey(e.Tx.Change, p.Set)
}

// sameAttestKey returns ErrChange if the validator that c would change speaks by
// another key than when c was proposed, and c is not about that key: a vote on its
// power must not bring back one that it has replaced since, because it was stolen,
// say. One that is to replace a stolen key holds whatever the thief does meanwhile.
func (s *State) sameAttestKey(c Change, proposed uint64) error {
	if c.Kind != ChangeValidator {
		return nil
	}
	then, err := s.set(proposed)
	if err != nil {
		return err
	}
	now, err := s.Validators()
	if err != nil {
		return err
	}
	before := attestKey(then, c.Validator.Consensus)
	about := before != (PublicKey{}) && before != c.Validator.Attest
	if !about && before != attestKey(now, c.Validator.Consensus) {
		return fmt.Errorf("%w: the attest key of %s is another than when this was proposed; propose it anew", ErrChange, c.Validator.Name)
	}
	return nil
}

// attestKey is that of the validator with this consensus key, zero if there is none.
func attestKey(set []Validator, consensus PublicKey) (key PublicKey) {
	if i := place(set, consensus); i >= 0 {
		key = set[i].Attest
	}
	return key
}

func (s *State) foldVote(v Validator, vote Vote) error {
	var p proposal
	if err := s.must(keyProposal(vote.Proposal), &p); err != nil {
		return err
	}
	p.Voters = voted(p.Voters, v.Consensus, vote.Approve)
	return s.put(keyProposal(vote.Proposal), p)
}

// enact adds the entry by which a proposal takes effect, if it is due.
func (w *writer) enact(index uint64) error {
	var p proposal
	if err := w.must(keyProposal(index), &p); err != nil {
		return err
	}
	power, total, yes, err := w.carried(p.Voters)
	if err != nil || !yes {
		return err
	}
	return w.add(Entry{Kind: EntryEnacted, Enacted: Enacted{Proposal: index, Power: power, Total: total}})
}

func (s *State) foldEnacted(index uint64, o Enacted) error {
	var p proposal
	if err := s.must(keyProposal(o.Proposal), &p); err != nil {
		return err
	}
	e, err := s.Entry(o.Proposal)
	if err != nil {
		return err
	}
	p.Decision = index
	if err := s.put(keyProposal(o.Proposal), p); err != nil {
		return err
	}
	c := e.Tx.Change
	switch c.Kind {
	case ChangeParams:
		s.net.Params = c.Params.body()
		return s.put(keyNetwork(), s.net)
	case ChangeGrant:
		return s.receive(index, c.Grant.Key, c.Grant.Credits)
	}
	if c.Kind == ChangeRemove {
		if err := s.leave(c.Remove); err != nil {
			return err
		}
	}
	set, err := s.changed(c)
	if err != nil {
		return err
	}
	return s.putSet(set)
}

// putSet makes set the present one.
func (s *State) putSet(set []Validator) error {
	last, err := s.seats(s.net.Set)
	if err != nil {
		return err
	}
	next := seats{Before: last.Before, Validators: set}
	for _, v := range last.Validators {
		if place(set, v.Consensus) < 0 {
			next.Before = s.net.Set
		}
	}
	s.net.Set++
	if err := s.storeSet(next); err != nil {
		return err
	}
	return s.put(keyNetwork(), s.net)
}
