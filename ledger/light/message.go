package light

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"granary/erasure"
	"granary/ledger"
)

const (
	// Protocol and TxProtocol are the libp2p protocols of the messages.
	Protocol   = "/granary/light/1.0.0"
	TxProtocol = "/granary/tx/1.0.0"

	// MaxRequest and MaxReply are the longest messages in bytes: a transaction is
	// the longest request, a light block of 100 validators takes 25 KiB.
	MaxRequest = ledger.MaxTx
	MaxReply   = 256 << 10

	// MaxEntries is how many entries one reply has at most. With proofs they need
	// not fit: the server leaves off what does not.
	MaxEntries = 64
)

// kind is what a request asks for. The numbers are part of the protocol.
type kind uint64

const (
	kindHead    kind = 1 // a light block, and the head its header commits to
	kindEntries kind = 2 // entries of the log, each with its inclusion proof
	kindFind    kind = 3 // what is known about a block
	kindValue   kind = 4 // what the state holds under a key, with its proof
	kindTrail   kind = 5 // entries about something, from one back, each with its inclusion proof
	kindTwice   kind = 6 // evidence of validators that signed twice
	kindAccuse  kind = 7 // none: it brings such evidence
)

// request is every request of Protocol; Body is one of the following.
type request struct {
	_    struct{} `cbor:",toarray"`
	Kind kind
	Body cbor.RawMessage
}

type (
	headRequest struct {
		_      struct{} `cbor:",toarray"`
		Height int64    // of the light block; 0: the latest
		From   uint64   // size of the log that the client knows; 0: no proof wanted
	}
	headReply struct {
		_           struct{} `cbor:",toarray"`
		Block       []byte   // protobuf: tendermint.types.LightBlock
		Head        head
		Consistency []ledger.Hash // from size From to Head; empty if From is 0 or beyond Head
	}

	entriesRequest struct {
		_     struct{} `cbor:",toarray"`
		From  uint64   // index of the first
		Count uint64   // 1 to MaxEntries
		Size  uint64   // of the log that the proofs are for; above From
	}
	entriesReply struct {
		_       struct{} `cbor:",toarray"`
		Entries []proven // at least one
	}

	findRequest struct {
		_    struct{} `cbor:",toarray"`
		ID   erasure.ID
		Size uint64
	}
	findReply struct {
		_            struct{} `cbor:",toarray"`
		Announcement proven   // of the certificate, or the latest if there is none or its keep has ended
		Outcome      []proven // of that announcement: certified or expired, none while it is pending
		Power, Total int64    // hint: of those who attested by now
		Until        int64    // hint: when the keep ends, milliseconds; 0 if not certified
	}

	valueRequest struct {
		_    struct{} `cbor:",toarray"`
		Key  []byte   // of the state: ledger.AccountKey and its like
		Size uint64   // of the log whose head the proof is for
	}
	valueReply struct {
		_     struct{} `cbor:",toarray"`
		Value []byte   // empty: there is none
		Other []byte   // with Path, a ledger.ValueProof
		Path  []ledger.Hash
	}

	trailRequest struct {
		_     struct{} `cbor:",toarray"`
		Key   []byte
		From  uint64 // index of the first, which is of the trail; the next are before it
		Count uint64 // 1 to MaxEntries
		Size  uint64 // of the log that the proofs are for; above From
	}

	twiceRequest struct {
		_     struct{} `cbor:",toarray"`
		Count uint64   // 1 to MaxEntries
	}
	twiceReply struct {
		_        struct{} `cbor:",toarray"`
		Evidence [][]byte // protobuf: tendermint.types.DuplicateVoteEvidence, the latest first
	}

	accuseRequest struct {
		_        struct{} `cbor:",toarray"`
		Evidence [][]byte // 1 to maxAccused, as in twiceReply
	}
	accuseReply struct {
		_     struct{} `cbor:",toarray"`
		Known uint64   // how many of them are true and known now
	}
)

// head is a ledger.Head as it travels.
type head struct {
	_     struct{} `cbor:",toarray"`
	Size  uint64
	Root  ledger.Hash
	State ledger.Hash
}

func (h head) head() ledger.Head { return ledger.Head{Size: h.Size, Root: h.Root, State: h.State} }

func headOf(h ledger.Head) head { return head{Size: h.Size, Root: h.Root, State: h.State} }

// proven is an entry with its inclusion proof.
type proven struct {
	_     struct{} `cbor:",toarray"`
	Index uint64
	Leaf  []byte
	Path  []ledger.Hash
}

// entry checks the proof against a head and returns the entry.
func (p proven) entry(h ledger.Head) (ledger.Entry, error) {
	if len(p.Path) > 64 {
		return ledger.Entry{}, fmt.Errorf("%w: inclusion proof of %d hashes", ledger.ErrProof, len(p.Path))
	}
	if err := ledger.VerifyInclusion(h, p.Index, p.Leaf, p.Path); err != nil {
		return ledger.Entry{}, err
	}
	return ledger.ParseEntry(p.Leaf)
}

// code says how a request went. The numbers are part of the protocol.
type code uint64

const (
	codeOK        code = 0 // the body is the reply
	codeMalformed code = 1 // the request is not one of these
	codeNotFound  code = 2 // there is no such thing
	codeAhead     code = 3 // what is asked for lies beyond the size that was given
	codeFailed    code = 4 // not now
)

// reply is every reply of Protocol. The body is that of the request, or empty
// unless the code is codeOK.
type reply struct {
	_    struct{} `cbor:",toarray"`
	Code code
	Body []byte
}

// txReply is the reply of TxProtocol, whose request is the transaction as it is.
type txReply struct {
	_      struct{} `cbor:",toarray"`
	Code   uint32   // ledger.Code; 0: it waits for a height
	Detail string   // for people, at most 512 bytes
}

const maxDetail = 512
