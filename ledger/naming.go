package ledger

import (
	"fmt"

	"granary/erasure"
)

const (
	// MaxName is the longest name in bytes.
	MaxName = 63

	// MaxTerms is for how many terms ahead a name can be paid.
	MaxTerms = 10
)

// Transfer moves credits from the sender to another account, which it begins if
// there is none.
type Transfer struct {
	_       struct{} `cbor:",toarray"`
	To      PublicKey
	Credits int64 // byte-days, at least 1
}

// Naming is what an owner does with a name. Whoever pays for a name that nobody
// owns, or that has lapsed, owns it. At least one of the others is given.
type Naming struct {
	Name   string     // see CheckName
	Terms  uint64     // paid for now, 0 to MaxTerms, each of Params.NameTerm
	Target erasure.ID // what it points at from now on; zero: as before
	Owner  PublicKey  // whose it is from now on; zero: the sender's
}

// CheckName returns ErrMalformed unless name can be owned: 1 to MaxName of a-z,
// 0-9 and -, which neither begins nor ends it.
func CheckName(name string) error {
	if len(name) < 1 || len(name) > MaxName {
		return malformed("name of %d bytes, want 1 to %d", len(name), MaxName)
	}
	for i, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && (c != '-' || i == 0 || i == len(name)-1) {
			return malformed("name %q: want a-z, 0-9, and - inside", name)
		}
	}
	return nil
}

func (n Naming) validate() error {
	if err := CheckName(n.Name); err != nil {
		return err
	}
	if n.Terms > MaxTerms {
		return malformed("name for %d terms, at most %d", n.Terms, MaxTerms)
	}
	if n.Terms == 0 && n.Target == (erasure.ID{}) && n.Owner == (PublicKey{}) {
		return malformed("nothing is done with name %q", n.Name)
	}
	return nil
}

// optional is 32 bytes or none.
type optional []byte

func optionally[T ~[32]byte](v T) optional {
	if v == (T{}) {
		return nil
	}
	return optional(v[:])
}

// value returns the bytes, or zero. None are never written as 32 zeros.
func (o optional) value() (v [32]byte, err error) {
	if len(o) == 0 {
		return v, nil
	}
	if len(o) != len(v) || [32]byte(o) == v {
		return v, malformed("%d bytes, want none or 32 that are not all zero", len(o))
	}
	return [32]byte(o), nil
}

type namingBody struct {
	_             struct{} `cbor:",toarray"`
	Name          string
	Terms         uint64
	Target, Owner optional
}

func (n Naming) body() namingBody {
	return namingBody{Name: n.Name, Terms: n.Terms, Target: optionally(n.Target), Owner: optionally(n.Owner)}
}

func parseNaming(raw []byte) (Naming, error) {
	var b namingBody
	if err := unmarshal(raw, &b); err != nil {
		return Naming{}, err
	}
	target, err := b.Target.value()
	if err != nil {
		return Naming{}, err
	}
	owner, err := b.Owner.value()
	return Naming{Name: b.Name, Terms: b.Terms, Target: target, Owner: owner}, err
}

// owned returns what is known about a name, and whether somebody owns it now.
func (s *State) owned(label string, millis int64) (n name, yes bool, err error) {
	yes, err = s.get(keyName(label), &n)
	return n, yes && millis < n.Until, err
}

func (s *State) checkNaming(tx Tx) error {
	n := tx.Naming
	now := s.meta.Millis
	record, owned, err := s.owned(n.Name, now)
	if err != nil {
		return err
	}
	switch {
	case owned && record.Owner != tx.Sender:
		return fmt.Errorf("%w: %q is that of %s", ErrNotOwner, n.Name, record.Owner)
	case !owned && n.Terms == 0:
		return fmt.Errorf("%w: %q is nobody's, and not paid for", ErrNotOwner, n.Name)
	}
	term := s.net.Params.NameTerm
	if !owned {
		record.Until = now
	}
	// Without terms nothing is paid ahead: a vote for shorter terms must not take
	// the use of a name from those who paid before.
	if n.Terms > 0 && record.Until+int64(n.Terms)*term > now+MaxTerms*term {
		return fmt.Errorf("%w: a name is paid for at most %d terms ahead", ErrKeep, MaxTerms)
	}
	if n.Target == (erasure.ID{}) {
		return nil
	}
	var b block
	if found, err := s.get(keyBlock(n.Target), &b); err != nil || found {
		return err
	}
	return fmt.Errorf("%w: block %s was never announced", ErrUnknown, n.Target.Short())
}

func (s *State) foldNaming(index uint64, now int64, tx Tx) error {
	n := tx.Naming
	if err := s.spend(index, tx, 0); err != nil {
		return err
	}
	record, owned, err := s.owned(n.Name, now)
	if err != nil {
		return err
	}
	if !owned {
		record = name{Owner: tx.Sender, Until: now, Trail: record.Trail}
	}
	record.Until += int64(n.Terms) * s.net.Params.NameTerm
	if n.Target != (erasure.ID{}) {
		record.Target = optionally(n.Target)
	}
	if n.Owner != (PublicKey{}) {
		record.Owner = n.Owner
	}
	key := keyName(n.Name)
	if err := s.extend(key, &record.Trail, index); err != nil {
		return err
	}
	return s.put(key, record)
}
