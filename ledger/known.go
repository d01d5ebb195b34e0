package ledger

import (
	"encoding/json"
	"fmt"
	"time"

	"granary/erasure"
)

// What the state holds under the keys that heads commit to, for those who get
// values and proofs from others: see VerifyValue.

// AccountKey is the key of an account, for ParseAccount.
func AccountKey(who PublicKey) []byte { return keyAccount(who) }

// NameKey is the key of a name, for ParseName.
func NameKey(name string) []byte { return keyName(name) }

// BlockKey is the key of what is known about a block, for ParseKnown.
func BlockKey(id erasure.ID) []byte { return keyBlock(id) }

// NetworkKey is the key of the parameters in force, for ParseNetwork.
func NetworkKey() []byte { return keyNetwork() }

// SetKey is the key of validator set number n, for ParseValidators.
func SetKey(n uint64) []byte { return keySet(n) }

// ProposedKey is the key of a validator's latest proposal, for ParseProposed.
func ProposedKey(consensus PublicKey) []byte { return keyProposed(consensus) }

// ProposalKey is the key of the votes on the proposal at a log index, for
// ParseProposal.
func ProposalKey(index uint64) []byte { return keyProposal(index) }

// Trail says how many entries there are about something, and which is the latest:
// 0 if there are none.
type Trail struct{ Latest, Count uint64 }

// Account is what belongs to a key.
type Account struct {
	Credits int64  // byte-days
	Nonce   uint64 // the highest nonce used; the next one up is free
	Pending uint64 // log index of its pending announcement; 0: none
	Trail   Trail  // entries that moved credits
}

// ParseAccount reads the value under AccountKey.
func ParseAccount(value []byte) (Account, error) {
	var a account
	err := unmarshal(value, &a)
	return a.exported(), err
}

func (a account) exported() Account {
	return Account{Credits: a.Credits, Nonce: a.Nonces.Last, Pending: a.Pending, Trail: Trail{a.Trail.Latest, a.Trail.Count}}
}

// Name is what is known about a name.
type Name struct {
	Name   string
	Owner  PublicKey
	Until  time.Time  // when it lapses: from then on it is nobody's
	Target erasure.ID // what it points at; zero: nothing yet
	Trail  Trail      // entries about it, of former owners too
}

// Owned reports whether the name has an owner at a time.
func (n Name) Owned(now time.Time) bool { return now.Before(n.Until) }

// ParseName reads the value under NameKey(label).
func ParseName(label string, value []byte) (Name, error) {
	var n name
	if err := unmarshal(value, &n); err != nil {
		return Name{}, err
	}
	return n.exported(label)
}

func (n name) exported(label string) (Name, error) {
	target, err := n.Target.value()
	return Name{
		Name: label, Owner: n.Owner, Until: fromMillis(n.Until), Target: target,
		Trail: Trail{n.Trail.Latest, n.Trail.Count},
	}, err
}

// Name returns what is known about a name: ErrNotFound if nobody ever owned it.
func (s *State) Name(label string) (Name, error) {
	var n name
	if found, err := s.get(keyName(label), &n); err != nil || !found {
		return Name{}, firstError(err, ErrNotFound)
	}
	return n.exported(label)
}

// Known is what the state holds about a block.
type Known struct {
	Latest      uint64    // log index of its latest announcement
	Pending     uint64    // how many announcements await a certificate
	Certificate uint64    // log index of its latest certificate; 0: none
	Until       time.Time // when the keep of that ends
}

// ParseKnown reads the value under BlockKey.
func ParseKnown(value []byte) (Known, error) {
	var b block
	err := unmarshal(value, &b)
	return Known{Latest: b.Latest, Pending: b.Pending, Certificate: b.Certificate, Until: fromMillis(b.Until)}, err
}

// ParseNetwork reads the value under NetworkKey: the parameters in force, and the
// number of the present validator set.
func ParseNetwork(value []byte) (Params, uint64, error) {
	var n network
	if err := unmarshal(value, &n); err != nil {
		return Params{}, 0, err
	}
	p, err := n.Params.checked()
	return p, n.Set, err
}

// ParseValidators reads the value under SetKey: the validators, and the number of
// the latest set before that from which somebody has left since, 0 if nobody has.
func ParseValidators(value []byte) (set []Validator, before uint64, err error) {
	var s seats
	if err := json.Unmarshal(value, &s); err != nil {
		return nil, 0, fmt.Errorf("%w: validators: %w", ErrMalformed, err)
	}
	return s.Validators, s.Before, checkValidators(s.Validators)
}

// ParseProposed reads the value under ProposedKey: the log index of a proposal, 0
// if that validator made none.
func ParseProposed(value []byte) (index uint64, err error) {
	var w spoken
	err = unmarshal(value, &w)
	return w.Proposal, err
}

// ParseProposal reads the value under ProposalKey(index). What is proposed is in
// the log: give it as change.
func ParseProposal(index uint64, change Change, value []byte) (Proposal, error) {
	var p proposal
	err := unmarshal(value, &p)
	return p.exported(index, change), err
}

// Trail returns the log indices of up to count entries of the trail of what is
// under key, from the one at a log index back: ErrNotFound if that is not of it.
func (s *State) Trail(key []byte, from uint64, count int) ([]uint64, error) {
	var out []uint64
	for len(out) < count && (from != 0 || len(out) == 0) {
		var before uint64
		if found, err := s.get(keyTrail(key, from), &before); err != nil || !found {
			return nil, firstError(err, fmt.Errorf("entry %d is not about %.32q: %w", from, key, ErrNotFound))
		}
		if out = append(out, from); before >= from {
			return nil, fmt.Errorf("%w: trail at entry %d", ErrCorrupt, from)
		}
		from = before
	}
	return out, nil
}
