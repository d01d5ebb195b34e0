package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	// MaxGenesis is the longest genesis in bytes of JSON.
	MaxGenesis = 1 << 20

	// MaxGenesisChainID is the longest chain ID that the consensus engine takes.
	MaxGenesisChainID = 50

	// MaxCredits bounds all credits of a network together, in byte-days, so that
	// sums cannot overflow: 4 EiB for a day.
	MaxCredits = 1 << 62

	genesisDomain = "granary/genesis/v1"
)

// Genesis is what a network begins with. All its nodes have the same.
type Genesis struct {
	ChainID    string      `json:"chain_id"` // 1 to 50 of a-z, 0-9 and -
	Time       time.Time   `json:"time"`     // UTC, whole milliseconds
	Validators []Validator `json:"validators"`
	Params     Params      `json:"params"`
	Grants     []Grant     `json:"grants,omitempty"`
}

// Grant gives an account its first credits.
type Grant struct {
	Key     PublicKey `json:"key"`
	Credits int64     `json:"credits"` // byte-days, at least 1
}

// ParseGenesis reads a genesis in JSON and validates it. Strict: white space
// aside, only what Encode writes for the same values is accepted. It returns
// ErrMalformed.
func ParseGenesis(data []byte) (Genesis, error) {
	var g Genesis
	if len(data) > MaxGenesis {
		return g, malformed("genesis of %d bytes, at most %d", len(data), MaxGenesis)
	}
	if err := unmarshalJSON(data, &g); err != nil {
		return Genesis{}, fmt.Errorf("%w: genesis: %w", ErrMalformed, err)
	}
	g.Time = g.Time.UTC()
	if err := g.Validate(); err != nil {
		return Genesis{}, err
	}
	var got, want bytes.Buffer
	if err := errors.Join(json.Compact(&got, data), json.Compact(&want, g.Encode())); err != nil {
		return Genesis{}, fmt.Errorf("%w: genesis: %w", ErrMalformed, err)
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		return Genesis{}, malformed("genesis: fields missing, doubled, out of order, or written another way")
	}
	return g, nil
}

// Validate returns ErrMalformed unless the genesis can begin a network.
func (g Genesis) Validate() error {
	if err := checkChainID(g.ChainID); err != nil {
		return err
	}
	if ms := g.Time.UnixMilli(); ms < 0 || ms > maxMillis || !g.Time.Equal(fromMillis(ms)) {
		return malformed("genesis time %s, want whole milliseconds since 1970", g.Time)
	}
	if err := checkValidators(g.Validators); err != nil {
		return err
	}
	for _, v := range g.Validators {
		if err := v.Verify(g.ChainID); err != nil {
			return malformed("validator %s: %v", v.Name, err)
		}
	}
	if err := g.Params.Validate(); err != nil {
		return err
	}
	seen := make(map[PublicKey]bool)
	left := int64(MaxCredits)
	for _, grant := range g.Grants {
		if grant.Credits < 1 || grant.Credits > left || seen[grant.Key] {
			return malformed("grant of %d credits to %s: too few, too many, or a second one", grant.Credits, grant.Key)
		}
		seen[grant.Key] = true
		left -= grant.Credits
	}
	return nil
}

// Encode returns the genesis in JSON, as ParseGenesis reads it.
func (g Genesis) Encode() []byte {
	b, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("BUG: encode genesis: %v", err))
	}
	return append(b, '\n')
}

// Hash names the genesis: it is the log's entry 0. It is taken over values, not
// over the JSON, which can be written in many ways. g must be valid.
func (g Genesis) Hash() Hash {
	body := struct {
		_          struct{} `cbor:",toarray"`
		ChainID    string
		Millis     int64
		Validators []validatorBody
		Params     paramsBody
		Grants     []grantBody
	}{ChainID: g.ChainID, Millis: g.Time.UnixMilli(), Params: g.Params.body()}
	for _, v := range g.Validators {
		body.Validators = append(body.Validators, v.body())
	}
	for _, a := range g.Grants {
		body.Grants = append(body.Grants, grantBody{Key: a.Key, Credits: a.Credits})
	}
	b, err := encoder.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("BUG: encode genesis: %v", err))
	}
	return sha256.Sum256(append([]byte(genesisDomain), b...))
}

func checkChainID(id string) error {
	if len(id) < 1 || len(id) > MaxGenesisChainID {
		return malformed("chain ID of %d bytes, want 1 to %d", len(id), MaxGenesisChainID)
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return malformed("chain ID %q has other characters than a-z, 0-9 and -", id)
		}
	}
	return nil
}

// unmarshalJSON decodes exactly one value with no unknown fields.
func unmarshalJSON(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("bytes after the end")
	}
	return nil
}
