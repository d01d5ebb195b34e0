package ledger

import (
	"encoding/json"
	"fmt"
	"time"

	"granary/erasure"
)

// State is what a network agrees on after a number of heights: the log, and what
// follows from it. It lives in a KV and keeps nothing else that matters, so any
// number of States can be made of one KV; all but one must only read.
//
// A State is not safe for concurrent use.
type State struct {
	kv    KV
	net   network
	meta  meta
	sets  map[uint64][]Validator // read from kv before
	dirty map[string][]byte      // what the state root does not cover yet; nil: nobody will ask for one
}

// Init begins a network in an empty KV: height 0, and a log of one entry, the
// genesis. It returns ErrMalformed for a genesis that is not valid.
func Init(kv KV, g Genesis) (*State, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	if kv.Get(keyMeta()) != nil {
		return nil, fmt.Errorf("begin network %s: the store holds one already", g.ChainID)
	}
	s := &State{kv: kv, net: network{Chain: g.ChainID, Params: g.Params.body()}, sets: make(map[uint64][]Validator), dirty: make(map[string][]byte)}
	s.meta.Millis = g.Time.UnixMilli()
	if err := s.put(keyNetwork(), s.net); err != nil {
		return nil, err
	}
	if err := s.storeSet(seats{Validators: g.Validators}); err != nil {
		return nil, err
	}
	for _, grant := range g.Grants {
		if err := s.put(keyAccount(grant.Key), account{Credits: grant.Credits}); err != nil {
			return nil, err
		}
	}
	w, err := s.writer()
	if err != nil {
		return nil, err
	}
	if err := w.add(Entry{Kind: EntryGenesis, Genesis: g.Hash()}); err != nil {
		return nil, err
	}
	if err := s.commit(); err != nil {
		return nil, err
	}
	return s, s.put(keyMeta(), s.meta)
}

// seats is a validator set as it is stored.
type seats struct {
	Before     uint64      `json:"before"` // number of the latest set, before it, of which somebody was not in the next one; 0: none
	Validators []Validator `json:"validators"`
}

// storeSet stores the present validators under their number.
func (s *State) storeSet(set seats) error {
	raw, err := json.Marshal(set)
	if err != nil {
		return fmt.Errorf("encode validators: %w", err)
	}
	delete(s.sets, s.net.Set)
	return s.putRaw(keySet(s.net.Set), raw)
}

// Load returns the state that kv holds: ErrNotFound if it holds none,
// ErrCorrupt if it cannot be read.
func Load(kv KV) (*State, error) {
	s := &State{kv: kv, sets: make(map[uint64][]Validator), dirty: make(map[string][]byte)}
	found, err := s.get(keyMeta(), &s.meta)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("load state: %w", ErrNotFound)
	}
	// Whoever walks the log must not walk a damaged size for ever.
	if m := s.meta; m.Size < 1 || m.First > m.Size || m.Open > m.Size || kv.Get(keyLeaf(m.Size-1)) == nil {
		return nil, fmt.Errorf("%w: log of size %d", ErrCorrupt, m.Size)
	}
	return s, s.must(keyNetwork(), &s.net)
}

// Chain returns the chain ID.
func (s *State) Chain() string { return s.net.Chain }

// Params returns the parameters in force.
func (s *State) Params() Params { return s.net.Params.params() }

// Height returns the last height applied, 0 at genesis.
func (s *State) Height() int64 { return s.meta.Height }

// Time returns the time of that height.
func (s *State) Time() time.Time { return fromMillis(s.meta.Millis) }

// Head returns the head of the log.
func (s *State) Head() Head { return Head{Size: s.meta.Size, Root: s.meta.Root, State: s.meta.State} }

// Validators returns the present set. The caller must not modify it.
func (s *State) Validators() ([]Validator, error) { return s.set(s.net.Set) }

// set returns validator set number n.
func (s *State) set(n uint64) ([]Validator, error) {
	if set, ok := s.sets[n]; ok {
		return set, nil
	}
	stored, err := s.seats(n)
	if err != nil {
		return nil, err
	}
	s.sets[n] = stored.Validators
	return stored.Validators, nil
}

func (s *State) seats(n uint64) (seats, error) {
	set, before, err := ParseValidators(s.kv.Get(keySet(n)))
	if err != nil {
		return seats{}, fmt.Errorf("%w: validator set %d: %v", ErrCorrupt, n, err)
	}
	return seats{Before: before, Validators: set}, nil
}

// SetOf returns the validators that certify the announcement at a log index, in
// the order of their shares: ErrNotFound if that entry is none.
func (s *State) SetOf(index uint64) ([]Validator, error) {
	var a announced
	if found, err := s.get(keyAnnounced(index), &a); err != nil || !found {
		return nil, firstError(err, ErrNotFound)
	}
	return s.set(a.Set)
}

// Status is where an announcement stands.
type Status uint64

// The standings of an announcement. The numbers are stored.
const (
	Pending   Status = 1 // awaits its certificate
	Certified Status = 2 // its block was certified while it was pending, or before
	Expired   Status = 3 // it was not certified in time
)

// String names the status.
func (s Status) String() string {
	switch s {
	case Pending:
		return "pending"
	case Certified:
		return "certified"
	case Expired:
		return "expired"
	}
	return fmt.Sprintf("status %d", uint64(s))
}

// Announced is an announcement and where it stands.
type Announced struct {
	Index     uint64 // of its entry in the log
	Height    int64
	Time      time.Time
	Record    Record
	Status    Status
	Deadline  time.Time   // when it expires if nothing happens; zero until the next height tells
	Attesters []PublicKey // consensus keys, in the order of the validator set
	Power     int64       // voting power of the attesters, late ones included
	Total     int64       // of the set at the height of the announcement
	Decision  uint64      // log index of the entry that certified or expired it; 0 while pending
}

// Announcement returns the announcement at a log index, or ErrNotFound if that
// entry is none.
func (s *State) Announcement(index uint64) (Announced, error) {
	var a announced
	if found, err := s.get(keyAnnounced(index), &a); err != nil || !found {
		return Announced{}, firstError(err, ErrNotFound)
	}
	e, err := s.announceEntry(index)
	if err != nil {
		return Announced{}, err
	}
	set, err := s.set(a.Set)
	if err != nil {
		return Announced{}, err
	}
	out := Announced{
		Index: index, Height: e.Height, Time: e.Time, Record: e.Tx.Record,
		Status: a.Status, Power: a.Power, Total: Power(set), Decision: a.Decision,
	}
	if a.Deadline != 0 {
		out.Deadline = fromMillis(a.Deadline)
	}
	for i, v := range set {
		if a.has(i) {
			out.Attesters = append(out.Attesters, v.Consensus)
		}
	}
	return out, nil
}

// Pending returns the announcements that await a certificate, oldest first.
func (s *State) Pending() ([]Announced, error) {
	var out []Announced
	for index := s.meta.Open; index < s.meta.Size; index++ {
		var a announced
		if found, err := s.get(keyAnnounced(index), &a); err != nil {
			return nil, err
		} else if !found || a.Status != Pending {
			continue
		}
		p, err := s.Announcement(index)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// PendingBytes is how many bytes of content rows await a certificate, of at most
// Params.MaxPending.
func (s *State) PendingBytes() int64 { return s.meta.Pending }

// Block is what the ledger knows about a block.
type Block struct {
	ID      erasure.ID
	Latest  Announced // its latest announcement
	Pending int       // how many announcements of it await a certificate

	// Certified says that the block was certified, Certificate is the entry and
	// its place, and Until when its keep ends: it may lie in the past.
	Certified   bool
	Certificate Entry
	Index       uint64
	Until       time.Time
}

// Block returns what is known about a block: ErrNotFound if it was never
// announced.
func (s *State) Block(id erasure.ID) (Block, error) {
	var b block
	if found, err := s.get(keyBlock(id), &b); err != nil || !found {
		return Block{}, firstError(err, ErrNotFound)
	}
	latest, err := s.Announcement(b.Latest)
	if err != nil {
		return Block{}, err
	}
	out := Block{ID: id, Latest: latest, Pending: int(b.Pending)}
	if b.Certificate != 0 {
		out.Certified, out.Index, out.Until = true, b.Certificate, fromMillis(b.Until)
		out.Certificate, err = s.Entry(b.Certificate)
	}
	return out, err
}

// Account returns the account of a key. A key that has none yet has what it
// would get as a newcomer today.
func (s *State) Account(key PublicKey) (Account, error) {
	a, _, err := s.account(key, s.meta.Millis)
	return a.exported(), err
}
