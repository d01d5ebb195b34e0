package ledger

import (
	"bytes"
	"crypto/ed25519"
	"fmt"

	"granary/erasure"
)

const (
	// MaxTx is the longest transaction in bytes.
	MaxTx = 4 << 10

	// MaxAttestations is how many announcements one transaction can attest.
	MaxAttestations = maxElements

	txDomain = "granary/tx/v1"
)

// Kind says what a transaction does. The numbers are part of the format.
type Kind uint64

// The kinds of transaction.
const (
	KindAnnounce Kind = 1 // a publisher says that a block exists
	KindAttest   Kind = 2 // a validator says that it checked blocks and keeps its share
	KindTransfer Kind = 3 // credits change hands
	KindName     Kind = 4 // a name is taken, paid for, pointed at a block or given away
	KindPropose  Kind = 5 // a validator puts a change to the vote
	KindVote     Kind = 6 // another agrees
	KindRotate   Kind = 7 // a validator changes its attest key
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case KindAnnounce:
		return "announce"
	case KindAttest:
		return "attest"
	case KindTransfer:
		return "transfer"
	case KindName:
		return "name"
	case KindPropose:
		return "propose"
	case KindVote:
		return "vote"
	case KindRotate:
		return "rotate"
	}
	return fmt.Sprintf("kind %d", uint64(k))
}

// Attestation is a validator's word that the block announced at Index is clean,
// whole, and that it keeps its share.
type Attestation struct {
	_     struct{} `cbor:",toarray"`
	Index uint64   // log index of the announcement
	ID    erasure.ID
}

// Rotation names the sender's attest key from now on.
type Rotation struct {
	_      struct{} `cbor:",toarray"`
	Attest PublicKey
	Proof  Proof // by that key
}

// Tx is a signed transaction. The field that belongs to its kind is set, the
// others are zero.
type Tx struct {
	Kind      Kind
	Nonce     uint64 // see NonceWindow
	Sender    PublicKey
	Pay       int64         // credits that the sender has less afterwards, whatever it moves besides: see Params.Price
	Record    Record        // KindAnnounce
	Attested  []Attestation // KindAttest: 1 to MaxAttestations, by ascending Index
	Transfer  Transfer      // KindTransfer
	Naming    Naming        // KindName
	Change    Change        // KindPropose
	Vote      Vote          // KindVote
	Rotation  Rotation      // KindRotate
	Signature [ed25519.SignatureSize]byte
}

// Sign returns tx, of which only Kind, Pay and the field that belongs to the kind
// count, signed by key for the network with the given chain ID. It returns what
// ParseTx would say of it.
func Sign(chain string, key ed25519.PrivateKey, nonce uint64, tx Tx) ([]byte, error) {
	tx.Nonce = nonce
	return tx.sign(chain, key)
}

// SignAnnounce returns the transaction that announces r on the network with the
// given chain ID and pays what its keep costs, which must not be less than the fee
// there; the public half of key becomes the publisher. It returns an
// error of Record.Validate, or ErrMalformed for a key or chain ID that is none.
func SignAnnounce(chain string, key ed25519.PrivateKey, nonce uint64, r Record) ([]byte, error) {
	return Sign(chain, key, nonce, Tx{Kind: KindAnnounce, Pay: r.Cost(), Record: r})
}

// SignAttest returns the transaction by which a validator, whose attest key is
// key, attests list on the network with the given chain ID. It returns
// ErrMalformed unless list is as Tx.Attested says.
func SignAttest(chain string, key ed25519.PrivateKey, nonce uint64, list []Attestation) ([]byte, error) {
	return Sign(chain, key, nonce, Tx{Kind: KindAttest, Attested: list})
}

// txEnvelope is what travels: a body and the signature over it.
type txEnvelope struct {
	_         struct{} `cbor:",toarray"`
	Body      []byte
	Signature [ed25519.SignatureSize]byte
}

// txBody is what is signed.
type txBody struct {
	_       struct{} `cbor:",toarray"`
	Kind    Kind
	Nonce   uint64
	Sender  PublicKey
	Pay     int64
	Payload []byte
}

// ParseTx reads a transaction and checks its form: everything that can be said
// of it without the chain ID or the state. It returns ErrMalformed, ErrNotYet or
// ErrID, and keeps no reference to raw.
func ParseTx(raw []byte) (Tx, error) {
	if len(raw) > MaxTx {
		return Tx{}, malformed("%d bytes, at most %d", len(raw), MaxTx)
	}
	var e txEnvelope
	if err := unmarshal(raw, &e); err != nil {
		return Tx{}, err
	}
	var b txBody
	if err := unmarshal(e.Body, &b); err != nil {
		return Tx{}, err
	}
	tx := Tx{Kind: b.Kind, Nonce: b.Nonce, Sender: b.Sender, Pay: b.Pay, Signature: e.Signature}
	if err := tx.parse(b.Payload); err != nil {
		return Tx{}, err
	}
	return tx, nil
}

// parse reads the payload of tx's kind and checks it.
func (tx *Tx) parse(payload []byte) (err error) {
	if err := tx.checkPay(); err != nil {
		return err
	}
	switch tx.Kind {
	case KindAnnounce:
		tx.Record, err = parseRecord(payload, tx.Sender)
		return err // with its own reasons
	case KindAttest:
		err = unmarshal(payload, &tx.Attested)
	case KindTransfer:
		err = unmarshal(payload, &tx.Transfer)
	case KindName:
		tx.Naming, err = parseNaming(payload)
	case KindPropose:
		tx.Change, err = parseChange(payload)
	case KindVote:
		tx.Vote, err = parseVote(payload)
	case KindRotate:
		err = unmarshal(payload, &tx.Rotation)
	}
	if err != nil {
		return err
	}
	return tx.validate()
}

// validate returns what is wrong with the field that belongs to tx's kind.
func (tx Tx) validate() error {
	switch tx.Kind {
	case KindAnnounce:
		return tx.Record.Validate()
	case KindAttest:
		return checkAttested(tx.Attested)
	case KindTransfer:
		if tx.Transfer.Credits < 1 || tx.Transfer.Credits > MaxCredits || tx.Transfer.To == tx.Sender {
			return malformed("transfer of %d credits to %s", tx.Transfer.Credits, tx.Transfer.To)
		}
		return nil
	case KindName:
		return tx.Naming.validate()
	case KindPropose:
		return tx.Change.validate()
	case KindVote:
		return nil
	case KindRotate:
		if tx.Rotation.Attest == tx.Sender {
			return malformed("rotation to the same key")
		}
		return nil
	}
	return malformed("transaction of %s", tx.Kind)
}

// payload encodes the field that belongs to tx's kind.
func (tx Tx) payload() any {
	switch tx.Kind {
	case KindAnnounce:
		return tx.Record.body()
	case KindAttest:
		return tx.Attested
	case KindTransfer:
		return tx.Transfer
	case KindName:
		return tx.Naming.body()
	case KindPropose:
		return tx.Change.body()
	case KindVote:
		return tx.Vote.body()
	}
	return tx.Rotation
}

// Encode returns the bytes that ParseTx read. tx must come from ParseTx.
func (tx Tx) Encode() []byte {
	raw, err := tx.encode()
	if err != nil {
		panic(fmt.Sprintf("BUG: encode %s transaction: %v", tx.Kind, err))
	}
	return raw
}

// Verify returns ErrSignature unless the sender signed tx for the network with
// the given chain ID.
func (tx Tx) Verify(chain string) error {
	body, err := tx.body()
	if err != nil {
		return err
	}
	signed, err := txSigned(chain, body)
	if err != nil {
		return err
	}
	if !ed25519.Verify(tx.Sender[:], signed, tx.Signature[:]) {
		return fmt.Errorf("%w: another key, or another chain than %s", ErrSignature, chain)
	}
	return nil
}

func (tx Tx) sign(chain string, key ed25519.PrivateKey) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, malformed("private key of %d bytes", len(key))
	}
	tx.Sender = KeyOf(key)
	body, err := tx.body()
	if err != nil {
		return nil, err
	}
	signed, err := txSigned(chain, body)
	if err != nil {
		return nil, err
	}
	tx.Signature = [ed25519.SignatureSize]byte(ed25519.Sign(key, signed))
	return tx.encode()
}

func (tx Tx) encode() ([]byte, error) {
	body, err := tx.body()
	if err != nil {
		return nil, err
	}
	return encoder.Marshal(txEnvelope{Body: body, Signature: tx.Signature})
}

// body checks the payload and returns what is signed.
func (tx Tx) body() ([]byte, error) {
	if err := firstError(tx.checkPay(), tx.validate()); err != nil {
		return nil, err
	}
	payload, err := encoder.Marshal(tx.payload())
	if err != nil {
		return nil, err
	}
	return encoder.Marshal(txBody{Kind: tx.Kind, Nonce: tx.Nonce, Sender: tx.Sender, Pay: tx.Pay, Payload: payload})
}

func checkAttested(list []Attestation) error {
	if len(list) < 1 || len(list) > MaxAttestations {
		return malformed("%d attestations, want 1 to %d", len(list), MaxAttestations)
	}
	for i := range list[1:] {
		if list[i].Index >= list[i+1].Index {
			return malformed("attestations not in ascending order")
		}
	}
	return nil
}

// txSigned is what a signature covers: domain ‖ u8 length of chain ‖ chain ‖ body.
func txSigned(chain string, body []byte) ([]byte, error) {
	if err := checkChainID(chain); err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{[]byte(txDomain), {byte(len(chain))}, []byte(chain), body}, nil), nil
}
