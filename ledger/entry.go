package ledger

import (
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"granary/erasure"
)

// MaxEntry is the longest entry in bytes: a transaction in its frame.
const MaxEntry = MaxTx + 32

// EntryKind says what an entry reports. The numbers are part of the format.
type EntryKind uint64

// The kinds of entry.
const (
	EntryGenesis   EntryKind = 0 // entry 0: what the network began with
	EntryTx        EntryKind = 1 // an accepted transaction
	EntryCertified EntryKind = 2 // more than 2/3 of the power attested an announcement
	EntryExpired   EntryKind = 3 // an announcement was not certified in time
	EntryEnacted   EntryKind = 4 // a proposal took effect
)

// String names the kind.
func (k EntryKind) String() string {
	switch k {
	case EntryGenesis:
		return "genesis"
	case EntryTx:
		return "transaction"
	case EntryCertified:
		return "certified"
	case EntryExpired:
		return "expired"
	case EntryEnacted:
		return "enacted"
	}
	return fmt.Sprintf("kind %d", uint64(k))
}

// Entry is one leaf of the log. The field that belongs to its kind is set.
type Entry struct {
	Kind    EntryKind
	Height  int64     // that brought it; 0 for the genesis alone
	Time    time.Time // of that height, UTC, whole milliseconds. It may lie behind the clock: see Params.Heartbeat
	Genesis Hash      // EntryGenesis
	Tx      Tx        // EntryTx
	Outcome Outcome   // EntryCertified, EntryExpired
	Enacted Enacted   // EntryEnacted
}

// Outcome is what became of an announcement.
type Outcome struct {
	_            struct{} `cbor:",toarray"`
	Announcement uint64   // its log index
	ID           erasure.ID
	Power        int64 // voting power of those who attested it until then
	Total        int64 // of the whole set at the height of the announcement
}

// Enacted says that validators with more than 2/3 of the power agreed to a
// proposal.
type Enacted struct {
	_        struct{} `cbor:",toarray"`
	Proposal uint64   // its log index
	Power    int64    // voting power of those in favour
	Total    int64    // of the whole set
}

// entryBody is an entry as it is hashed.
type entryBody struct {
	_       struct{} `cbor:",toarray"`
	Kind    EntryKind
	Height  int64
	Millis  int64
	Payload cbor.RawMessage
}

// Encode returns the bytes of the leaf. The entry must be one of this package's.
func (e Entry) Encode() []byte {
	var payload any
	switch e.Kind {
	case EntryGenesis:
		payload = e.Genesis
	case EntryTx:
		payload = e.Tx.Encode()
	case EntryCertified, EntryExpired:
		payload = e.Outcome
	case EntryEnacted:
		payload = e.Enacted
	}
	raw, err := encoder.Marshal(payload)
	if err == nil {
		raw, err = encoder.Marshal(entryBody{Kind: e.Kind, Height: e.Height, Millis: e.Time.UnixMilli(), Payload: raw})
	}
	if err != nil {
		panic(fmt.Sprintf("BUG: encode %s entry: %v", e.Kind, err))
	}
	return raw
}

// ParseEntry reads a leaf. It checks the form only: that the log holds it is
// shown by VerifyInclusion. It returns an error of ParseTx, and keeps no
// reference to leaf.
func ParseEntry(leaf []byte) (Entry, error) {
	if len(leaf) > MaxEntry {
		return Entry{}, malformed("entry of %d bytes, at most %d", len(leaf), MaxEntry)
	}
	var b entryBody
	if err := unmarshal(leaf, &b); err != nil {
		return Entry{}, err
	}
	if b.Height < 0 || (b.Height == 0) != (b.Kind == EntryGenesis) || b.Millis < 0 || b.Millis > maxMillis {
		return Entry{}, malformed("%s entry at height %d, %d ms", b.Kind, b.Height, b.Millis)
	}
	e := Entry{Kind: b.Kind, Height: b.Height, Time: fromMillis(b.Millis)}
	var err error
	switch e.Kind {
	case EntryGenesis:
		err = unmarshal(b.Payload, &e.Genesis)
	case EntryTx:
		var raw []byte
		if err = unmarshal(b.Payload, &raw); err == nil {
			e.Tx, err = ParseTx(raw)
		}
	case EntryCertified, EntryExpired:
		err = unmarshal(b.Payload, &e.Outcome)
		if o := e.Outcome; err == nil && (o.Power < 0 || o.Power > o.Total) {
			err = malformed("outcome of power %d of %d", o.Power, o.Total)
		}
	case EntryEnacted:
		err = unmarshal(b.Payload, &e.Enacted)
		if o := e.Enacted; err == nil && (o.Power < 0 || o.Power > o.Total) {
			err = malformed("enacted by power %d of %d", o.Power, o.Total)
		}
	default:
		err = malformed("entry of %s", e.Kind)
	}
	if err != nil {
		return Entry{}, err
	}
	return e, nil
}

// maxMillis is the last millisecond of the year 9999: JSON knows no later time.
const maxMillis = 253_402_300_799_999

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
