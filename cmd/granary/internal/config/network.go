package config

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
)

// maxNetworkFile bounds what LoadNetwork reads: some hundred bootstrap
// addresses and publisher keys.
const maxNetworkFile = 1 << 20

// ErrNetwork reports a network file that cannot be used.
var ErrNetwork = errors.New("network file refused")

// Network is what nodes must agree on to be one network. It is public and is
// handed to every newcomer as a JSON file.
type Network struct {
	ChainID    string   `json:"chain_id"`         // 1 to 50 of a-z, 0-9 and -
	Bootstrap  []string `json:"bootstrap"`        // libp2p multiaddrs with /p2p/
	Publishers []string `json:"publishers"`       // ed25519 public keys, 64 hex digits each
	Custody    int      `json:"custody"`          // groups of 64 that each custodian keeps
	Devnet     bool     `json:"devnet,omitempty"` // loopback and private peers count, faults can be injected
}

var chainID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,49}$`)

// LoadNetwork reads and checks a network file.
func LoadNetwork(path string) (Network, error) {
	f, err := os.Open(path)
	if err != nil {
		return Network{}, fmt.Errorf("open network file: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxNetworkFile+1))
	if err != nil {
		return Network{}, fmt.Errorf("read network file %s: %w", path, err)
	}
	if len(raw) > maxNetworkFile {
		return Network{}, fmt.Errorf("%w: %s is longer than %d bytes", ErrNetwork, path, maxNetworkFile)
	}
	n, err := ParseNetwork(raw)
	if err != nil {
		return Network{}, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// ParseNetwork reads a network file's bytes; unknown keys are errors.
func ParseNetwork(raw []byte) (Network, error) {
	var n Network
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&n); err != nil {
		return Network{}, fmt.Errorf("%w: %w", ErrNetwork, err)
	}
	if d.More() {
		return Network{}, fmt.Errorf("%w: text after the closing brace", ErrNetwork)
	}
	if !chainID.MatchString(n.ChainID) {
		return Network{}, fmt.Errorf("%w: chain_id %q is not 1 to 50 of a-z, 0-9 and -", ErrNetwork, n.ChainID)
	}
	if n.Custody < 1 || n.Custody > 64 {
		return Network{}, fmt.Errorf("%w: custody is %d, want 1 to 64 groups", ErrNetwork, n.Custody)
	}
	for _, p := range n.Publishers {
		if b, err := hex.DecodeString(p); err != nil || len(b) != ed25519.PublicKeySize {
			return Network{}, fmt.Errorf("%w: publisher %q is not 64 hex digits", ErrNetwork, p)
		}
	}
	return n, nil
}

// Encode returns the file's bytes, indented for people.
func (n Network) Encode() []byte {
	b, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("BUG: network file: %v", err)) // strings and numbers always encode
	}
	return append(b, '\n')
}

// MayPublish reports whether announcements signed by key are relayed.
func (n Network) MayPublish(key ed25519.PublicKey) bool {
	want := hex.EncodeToString(key)
	for _, p := range n.Publishers {
		if p == want {
			return true
		}
	}
	return false
}
