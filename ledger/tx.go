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

// The kinds of transaction. Those from KindTransfer on are reserved: they parse
// as ErrNotYet.
const (
	KindAnnounce Kind = 1 // a publisher says that a block exists
	KindAttest   Kind = 2 // a validator says that it checked blocks and keeps its share
	KindTransfer Kind = 3 // credits change hands
	KindName     Kind = 4 // a name changes
	KindPropose  Kind = 5 // a change of validators or parameters is put to the vote
	KindVote     Kind = 6 // and voted on
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

// Tx is a signed transaction. The field that belongs to its kind is set, the
// others are zero.
type Tx struct {
	Kind      Kind
	Nonce     uint64 // see NonceWindow
	Sender    PublicKey
	Record    Record        // KindAnnounce
	Attested  []Attestation // KindAttest: 1 to MaxAttestations, by ascending Index
	Signature [ed25519.SignatureSize]byte
}

// SignAnnounce returns the transaction that announces r on the network with the
// given chain ID; the public half of key becomes the publisher. It returns an
// error of Record.Validate, or ErrMalformed for a key or chain ID that is none.
func SignAnnounce(chain string, key ed25519.PrivateKey, nonce uint64, r Record) ([]byte, error) {
	tx := Tx{Kind: KindAnnounce, Nonce: nonce, Record: r}
	return tx.sign(chain, key)
}

// SignAttest returns the transaction by which a validator, whose attest key is
// key, attests list on the network with the given chain ID. It returns
// ErrMalformed unless list is as Tx.Attested says.
func SignAttest(chain string, key ed25519.PrivateKey, nonce uint64, list []Attestation) ([]byte, error) {
	tx := Tx{Kind: KindAttest, Nonce: nonce, Attested: list}
	return tx.sign(chain, key)
}

// txEnvelope is what travels: a body and the signature over it.
type txEnvelope struct {
	_         struct{} `cbor:",toarray"`
	Body      []byte
	Signature [ed25519.SignatureSize]byte
}

// txBody is what is signed. The payload is opaque here, so that what is reserved
// can hold anything.
type txBody struct {
	_       struct{} `cbor:",toarray"`
	Kind    Kind
	Nonce   uint64
	Sender  PublicKey
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
	tx := Tx{Kind: b.Kind, Nonce: b.Nonce, Sender: b.Sender, Signature: e.Signature}
	var err error
	switch tx.Kind {
	case KindAnnounce:
		tx.Record, err = parseRecord(b.Payload, b.Sender)
	case KindAttest:
		if err = unmarshal(b.Payload, &tx.Attested); err == nil {
			err = checkAttested(tx.Attested)
		}
	case KindTransfer, KindName, KindPropose, KindVote:
		err = notYet("%s transaction", tx.Kind)
	default:
		err = malformed("transaction of %s", tx.Kind)
	}
	if err != nil {
		return Tx{}, err
	}
	return tx, nil
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
	var payload []byte
	var err error
	switch tx.Kind {
	case KindAnnounce:
		if err = tx.Record.Validate(); err == nil {
			payload, err = encoder.Marshal(tx.Record.body())
		}
	case KindAttest:
		if err = checkAttested(tx.Attested); err == nil {
			payload, err = encoder.Marshal(tx.Attested)
		}
	default:
		err = notYet("%s transaction", tx.Kind)
	}
	if err != nil {
		return nil, err
	}
	return encoder.Marshal(txBody{Kind: tx.Kind, Nonce: tx.Nonce, Sender: tx.Sender, Payload: payload})
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
