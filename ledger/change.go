package ledger

import (
	"bytes"
	"fmt"
	"slices"
)

// ChangeKind says what a proposal would change. The numbers are part of the
// format.
type ChangeKind uint64

// What can be proposed.
const (
	ChangeValidator ChangeKind = 1 // a validator joins, or has other properties
	ChangeRemove    ChangeKind = 2 // a validator leaves
	ChangeParams    ChangeKind = 3 // parameters of the rules of this package
	ChangeGrant     ChangeKind = 4 // an account gets credits
)

// String names the kind.
func (k ChangeKind) String() string {
	switch k {
	case ChangeValidator:
		return "validator"
	case ChangeRemove:
		return "remove"
	case ChangeParams:
		return "params"
	case ChangeGrant:
		return "grant"
	}
	return fmt.Sprintf("change %d", uint64(k))
}

// Change is what a validator proposes. The field that belongs to its kind is set.
type Change struct {
	Kind      ChangeKind
	Validator Validator // ChangeValidator: known by its consensus key; new ones go behind the others
	Remove    PublicKey // ChangeRemove: a consensus key
	Params    Params    // ChangeParams: all of them, see changeable
	Grant     Grant     // ChangeGrant
}

// Vote is a validator's word on a proposal.
type Vote struct {
	Proposal uint64 // log index
	Approve  bool   // false takes back what was said before
}

type (
	changeBody struct {
		_    struct{} `cbor:",toarray"`
		Kind ChangeKind
		Data []byte
	}
	validatorBody struct {
		_                 struct{} `cbor:",toarray"`
		Name              string
		Power             int64
		Consensus, Attest PublicKey
		Proof             Proof
		Peer              PeerID
	}
	removeBody struct {
		_         struct{} `cbor:",toarray"`
		Consensus PublicKey
	}
	grantBody struct {
		_       struct{} `cbor:",toarray"`
		Key     PublicKey
		Credits int64
	}
	voteBody struct {
		_                 struct{} `cbor:",toarray"`
		Proposal, Approve uint64
	}
)

func (v Vote) body() voteBody {
	b := voteBody{Proposal: v.Proposal}
	if v.Approve {
		b.Approve = 1
	}
	return b
}

func parseVote(raw []byte) (Vote, error) {
	var b voteBody
	if err := unmarshal(raw, &b); err != nil {
		return Vote{}, err
	}
	if b.Approve > 1 {
		return Vote{}, malformed("vote of %d, want 0 or 1", b.Approve)
	}
	return Vote{Proposal: b.Proposal, Approve: b.Approve == 1}, nil
}

func (v Validator) body() validatorBody {
	return validatorBody{Name: v.Name, Power: v.Power, Consensus: v.Consensus, Attest: v.Attest, Proof: v.Proof, Peer: v.Peer}
}

func (c Change) body() changeBody {
	var data any
	switch c.Kind {
	case ChangeValidator:
		data = c.Validator.body()
	case ChangeRemove:
		data = removeBody{Consensus: c.Remove}
	case ChangeParams:
		data = c.Params.body()
	case ChangeGrant:
		data = grantBody{Key: c.Grant.Key, Credits: c.Grant.Credits}
	}
	raw, err := encoder.Marshal(data)
	if err != nil {
		panic(fmt.Sprintf("BUG: encode change: %v", err))
	}
	return changeBody{Kind: c.Kind, Data: raw}
}

func parseChange(raw []byte) (Change, error) {
	var b changeBody
	if err := unmarshal(raw, &b); err != nil {
		return Change{}, err
	}
	c := Change{Kind: b.Kind}
	var err error
	switch c.Kind {
	case ChangeValidator:
		var v validatorBody
		err = unmarshal(b.Data, &v)
		c.Validator = Validator{Name: v.Name, Power: v.Power, Consensus: v.Consensus, Attest: v.Attest, Proof: v.Proof, Peer: v.Peer}
	case ChangeRemove:
		var v removeBody
		err = unmarshal(b.Data, &v)
		c.Remove = v.Consensus
	case ChangeParams:
		var v paramsBody
		if err = unmarshal(b.Data, &v); err == nil {
			c.Params, err = v.checked()
		}
	case ChangeGrant:
		var v grantBody
		err = unmarshal(b.Data, &v)
		c.Grant = Grant{Key: v.Key, Credits: v.Credits}
	default:
		err = malformed("proposal of %s", c.Kind)
	}
	return c, err
}

func (c Change) validate() error {
	switch c.Kind {
	case ChangeValidator:
		return checkValidators([]Validator{c.Validator})
	case ChangeRemove:
		return nil
	case ChangeParams:
		return c.Params.Validate()
	case ChangeGrant:
		if c.Grant.Credits < 1 || c.Grant.Credits > MaxCredits {
			return malformed("grant of %d credits", c.Grant.Credits)
		}
		return nil
	}
	return malformed("proposal of %s", c.Kind)
}

// changeable returns ErrChange if p differs from now in what nodes read once,
// when they start, and must agree on at any time.
func changeable(now, p paramsBody) error {
	now.AnnounceWindow, now.Allowance, now.AllowancePerDay, now.MaxPending = p.AnnounceWindow, p.Allowance, p.AllowancePerDay, p.MaxPending
	now.VoteWindow, now.NameTerm, now.NameCost, now.Fee = p.VoteWindow, p.NameTerm, p.NameCost, p.Fee
	if now != p {
		return fmt.Errorf("%w: heartbeat, sampling_grace, retry_round and custody are those of the genesis", ErrChange)
	}
	return nil
}

// changed returns the validators after c, or ErrChange if it cannot be made to
// what there is now.
func (s *State) changed(c Change) ([]Validator, error) {
	set, err := s.Validators()
	if err != nil {
		return nil, err
	}
	set = slices.Clone(set)
	switch c.Kind {
	case ChangeParams:
		return set, changeable(s.net.Params, c.Params.body())
	case ChangeGrant:
		return set, s.room(c.Grant.Key, c.Grant.Credits, ErrChange)
	case ChangeValidator:
		if i := place(set, c.Validator.Consensus); i < 0 {
			set = append(set, c.Validator)
		} else if set[i].body().equal(c.Validator.body()) {
			return nil, fmt.Errorf("%w: it is so already", ErrChange)
		} else {
			set[i] = c.Validator
		}
	case ChangeRemove:
		i := place(set, c.Remove)
		if i < 0 {
			return nil, fmt.Errorf("%w: %s is no validator", ErrChange, c.Remove)
		}
		set = slices.Delete(set, i, i+1)
	}
	if err := checkValidators(set); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrChange, err)
	}
	return set, nil
}

func (v validatorBody) equal(o validatorBody) bool {
	return v.Name == o.Name && v.Power == o.Power && v.Consensus == o.Consensus && v.Attest == o.Attest && v.Proof == o.Proof && bytes.Equal(v.Peer, o.Peer)
}

// place returns where the validator with this consensus key stands in set, -1 if
// nowhere.
func place(set []Validator, consensus PublicKey) int {
	return slices.IndexFunc(set, func(v Validator) bool { return v.Consensus == consensus })
}

// rotated returns the validators with another attest key for the sender, or
// ErrChange if that key has another use already.
func (s *State) rotated(sender Validator, to Rotation) ([]Validator, error) {
	set, err := s.Validators()
	if err != nil {
		return nil, err
	}
	set = slices.Clone(set)
	v := &set[place(set, sender.Consensus)]
	v.Attest, v.Proof = to.Attest, to.Proof
	if err := checkValidators(set); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrChange, err)
	}
	return set, nil
}
