package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"granary/cmd/granary/internal/durable"
	"granary/ledger"
	"granary/ledger/light"
)

// maxNetworkFile bounds what LoadNetwork reads: a genesis of 100 validators
// and some hundred bootstrap addresses.
const maxNetworkFile = 2 << 20

// ErrNetwork reports a network file that cannot be used.
var ErrNetwork = errors.New("network file refused")

// Network is what nodes must agree on to be one network. It is public and is
// handed to every newcomer as a JSON file.
type Network struct {
	Genesis    ledger.Genesis    // chain ID, validators, parameters
	Bootstrap  []string          // libp2p multiaddrs with /p2p/
	Consensus  []string          // validators' ports for each other: id@ip:port
	Checkpoint *light.Checkpoint // a header to trust; nil: trust follows from the genesis, while it is young
	Devnet     bool              // loopback and private peers count, faults can be injected
}

// networkFile is the file's form. The genesis is kept as it is written.
type networkFile struct {
	ChainID    string            `json:"chain_id"`
	Genesis    json.RawMessage   `json:"genesis"`
	Bootstrap  []string          `json:"bootstrap"`
	Consensus  []string          `json:"consensus,omitempty"`
	Checkpoint *light.Checkpoint `json:"checkpoint,omitempty"`
	Devnet     bool              `json:"devnet,omitempty"`
}

// LoadNetwork reads and checks a network file.
func LoadNetwork(path string) (Network, error) {
	raw, err := durable.Read(path, maxNetworkFile)
	if errors.Is(err, durable.ErrTooLong) {
		return Network{}, fmt.Errorf("%w: %w", ErrNetwork, err)
	}
	if err != nil {
		return Network{}, fmt.Errorf("read network file: %w", err)
	}
	n, err := ParseNetwork(raw)
	if err != nil {
		return Network{}, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// ParseNetwork reads a network file's bytes; unknown keys are errors.
func ParseNetwork(raw []byte) (Network, error) {
	var f networkFile
	if len(bytes.TrimSpace(raw)) == 0 {
		return Network{}, fmt.Errorf("%w: it is empty", ErrNetwork)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return Network{}, fmt.Errorf("%w: %w", ErrNetwork, err)
	}
	if d.More() {
		return Network{}, fmt.Errorf("%w: text after the closing brace", ErrNetwork)
	}
	genesis, err := ledger.ParseGenesis(f.Genesis)
	if err != nil {
		return Network{}, fmt.Errorf("%w: %w", ErrNetwork, err)
	}
	if f.ChainID != genesis.ChainID {
		return Network{}, fmt.Errorf("%w: chain_id is %q, the genesis is of %q", ErrNetwork, f.ChainID, genesis.ChainID)
	}
	if c := f.Checkpoint; c != nil && c.Height < 1 {
		return Network{}, fmt.Errorf("%w: checkpoint at height %d", ErrNetwork, c.Height)
	}
	return Network{Genesis: genesis, Bootstrap: f.Bootstrap, Consensus: f.Consensus, Checkpoint: f.Checkpoint, Devnet: f.Devnet}, nil
}

// ChainID separates networks.
func (n Network) ChainID() string { return n.Genesis.ChainID }

// Encode returns the file's bytes, indented for people.
func (n Network) Encode() []byte {
	f := networkFile{
		ChainID: n.Genesis.ChainID, Genesis: n.Genesis.Encode(),
		Bootstrap: n.Bootstrap, Consensus: n.Consensus, Checkpoint: n.Checkpoint, Devnet: n.Devnet,
	}
	if f.Bootstrap == nil {
		f.Bootstrap = []string{}
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("BUG: network file: %v", err)) // strings and numbers always encode
	}
	return append(b, '\n')
}
