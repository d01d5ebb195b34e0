package ledger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"

	"granary/erasure"
)

// KV is what a State lives in: a map from bytes to bytes. A bbolt bucket is one.
// Nothing is ever deleted, and order does not matter.
type KV interface {
	// Get returns the value of key, nil if there is none. It is not modified,
	// and not used after the next Put.
	Get(key []byte) []byte

	// Put sets the value of key. It may keep value, which is not modified later.
	Put(key, value []byte) error
}

// Memory is a KV in memory, for tests and for trying things out. It is not safe
// for concurrent use.
type Memory struct{ m map[string][]byte }

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{make(map[string][]byte)} }

// Get implements KV.
func (m *Memory) Get(key []byte) []byte { return m.m[string(key)] }

// Put implements KV.
func (m *Memory) Put(key, value []byte) error {
	m.m[string(key)] = value
	return nil
}

// Clone returns an independent copy.
func (m *Memory) Clone() *Memory { return &Memory{maps.Clone(m.m)} }

// Equal reports whether both hold the same.
func (m *Memory) Equal(o *Memory) bool { return maps.EqualFunc(m.m, o.m, bytes.Equal) }

// Keys of the state: one letter, then what it is about. Numbers are big-endian,
// so that a person who lists a store sees them in order.
func keyMeta() []byte                  { return []byte("m") }
func keyNetwork() []byte               { return []byte("p") }
func keySet(n uint64) []byte           { return binary.BigEndian.AppendUint64([]byte("s"), n) }
func keyLeaf(index uint64) []byte      { return binary.BigEndian.AppendUint64([]byte("e"), index) }
func keyAnnounced(index uint64) []byte { return binary.BigEndian.AppendUint64([]byte("a"), index) }
func keyBlock(id erasure.ID) []byte    { return append([]byte("b"), id[:]...) }
func keyAccount(k PublicKey) []byte    { return append([]byte("k"), k[:]...) }
func keyName(name string) []byte       { return append([]byte("w"), name...) }
func keyProposal(index uint64) []byte  { return binary.BigEndian.AppendUint64([]byte("g"), index) }
func keyProposed(k PublicKey) []byte   { return append([]byte("o"), k[:]...) }
func keyState(h Hash) []byte           { return append([]byte("t"), h[:]...) }
func keyRoot(size uint64) []byte       { return binary.BigEndian.AppendUint64([]byte("r"), size) }

// keyTrail is where the trail of what is under key comes from at an entry.
func keyTrail(key []byte, index uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte("h"), key...), index)
}

func keyNode(level uint, i uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{'n', byte(level)}, i)
}

// What is stored under them.
type (
	meta struct { // m
		_       struct{} `cbor:",toarray"`
		Height  int64
		Millis  int64 // of the last height
		Size    uint64
		Root    Hash
		First   uint64 // log size before the last height
		Open    uint64 // every announcement before this index is decided
		Pending int64  // bytes of content rows that await a certificate
		Day     int64  // since 1970, of the last allowance
		Granted int64  // allowances on that day, in credits
		State   Hash   // root of what the log says now: see ValueAt
	}

	network struct { // p
		_      struct{} `cbor:",toarray"`
		Chain  string
		Params paramsBody
		Set    uint64 // number of the present validator set
	}

	announced struct { // a ‖ index
		_        struct{} `cbor:",toarray"`
		ID       erasure.ID
		Status   Status
		Set      uint64 // the validator set that certifies it
		Deadline int64  // milliseconds; 0 until the next height tells
		Power    int64
		Attested []byte // bit v, from the lowest of byte 0: validator v of the set
		Previous uint64 // the announcement of the same ID before this one; 0: none
		Decision uint64 // the entry that certified or expired it; 0 while pending
	}

	block struct { // b ‖ ID
		_           struct{} `cbor:",toarray"`
		Latest      uint64   // its latest announcement
		Pending     uint64   // how many announcements of it await a certificate
		Certificate uint64   // its latest certified entry; 0: none
		Until       int64    // milliseconds: when its keep ends
	}

	account struct { // k ‖ key
		_       struct{} `cbor:",toarray"`
		Credits int64
		Nonces  nonces
		Pending uint64 // its pending announcement; 0: none
		Trail   trail  // entries that moved its credits
	}

	name struct { // w ‖ name
		_      struct{} `cbor:",toarray"`
		Owner  PublicKey
		Until  int64    // milliseconds: when it lapses
		Target optional // the ID that it points at
		Trail  trail    // entries about it, of whichever owner
	}

	proposal struct { // g ‖ index
		_        struct{}  `cbor:",toarray"`
		Proposer PublicKey // consensus key
		Deadline int64     // milliseconds
		Voters   []byte    // consensus keys of those in favour, one after the other
		Decision uint64    // the entry that enacted it; 0: none
		Set      uint64    // number of the validator set when it was made
	}

	// trail leads from the latest entry about something back to the first: those
	// between are under keyTrail. With the count nobody can leave one out.
	trail struct {
		_      struct{} `cbor:",toarray"`
		Latest uint64   // 0: none
		Count  uint64
	}
)

// get reads what is stored under key into v and reports whether there is any.
func (s *State) get(key []byte, v any) (bool, error) {
	raw := s.kv.Get(key)
	if raw == nil {
		return false, nil
	}
	if err := unmarshal(raw, v); err != nil {
		// %v: damage is not the fault of a transaction, whatever the decoder calls it.
		return false, fmt.Errorf("%w: key %x: %v", ErrCorrupt, key, err)
	}
	return true, nil
}

// must is get for what has to be there.
func (s *State) must(key []byte, v any) error {
	found, err := s.get(key, v)
	if err == nil && !found {
		err = fmt.Errorf("%w: key %x is missing", ErrCorrupt, key)
	}
	return err
}

func (s *State) put(key []byte, v any) error {
	raw, err := encoder.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode state under key %x: %w", key, err)
	}
	return s.putRaw(key, raw)
}

// putRaw is put for what is encoded already.
func (s *State) putRaw(key, raw []byte) error {
	if s.dirty != nil && bytes.IndexByte([]byte(committed), key[0]) >= 0 {
		s.dirty[string(key)] = raw
	}
	return s.kv.Put(key, raw)
}

// extend notes that entry number index is about what is under key.
func (s *State) extend(key []byte, t *trail, index uint64) error {
	if err := s.put(keyTrail(key, index), t.Latest); err != nil {
		return err
	}
	t.Latest, t.Count = index, t.Count+1
	return nil
}
