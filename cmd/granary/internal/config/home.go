package config

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"granary/cmd/granary/internal/durable"
	"granary/ledger"
)

// ErrNoHome reports a folder that `granary init` has not prepared.
var ErrNoHome = errors.New("not a granary home")

// ErrOtherNetwork reports a home that belongs to another network.
var ErrOtherNetwork = errors.New("the home belongs to another network")

// Home is an initialised home folder, opened for reading; it holds no lock.
type Home struct {
	Dir       string
	Network   Network
	Node      ed25519.PrivateKey // libp2p identity, also on the consensus port
	Publisher ed25519.PrivateKey // signs announcements
	Consensus ed25519.PrivateKey // signs the chain's blocks, if the ledger lists it; nil if Away
	Attest    ed25519.PrivateKey // signs attestations, if the ledger lists it
	Public    PublicKeys         // the public halves, known while the private ones are sealed and nil

	Away bool // the home has only the public half of the consensus key: a signer has it

	encrypted bool           // on the disk, all of them
	newest    [saltSize]byte // of the first sealed one: a new key is sealed like it
	ring      ring           // opens them; nil: they are plain, or sealed still
}

// PublicKeys are those of a home.
type PublicKeys struct{ Node, Publisher, Consensus, Attest ledger.PublicKey }

// keyNames are the files in keys, in the order of the fields of Home.
var keyNames = []string{"node", "publisher", "consensus", "attest"}

// DefaultDir is GRANARY_HOME, or granary under the XDG data folder.
func DefaultDir() string {
	if dir := os.Getenv("GRANARY_HOME"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "granary")
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return "granary-home"
	}
	return filepath.Join(user, ".local", "share", "granary")
}

// Init prepares dir as a home of the network and returns it. Keys that are
// there already are kept. A home of another network is left untouched and
// reported as ErrOtherNetwork.
func Init(dir string, network Network) (*Home, error) {
	if old, err := LoadNetwork(filepath.Join(dir, "network.json")); err == nil && old.Genesis.Hash() != network.Genesis.Hash() {
		return nil, fmt.Errorf("%w: %s is on chain %s, not %s", ErrOtherNetwork, dir, old.ChainID(), network.ChainID())
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if !prepared(dir) {
		if _, err := Keys(dir); err != nil {
			return nil, err
		}
	}
	if err := durable.Write(filepath.Join(dir, "network.json"), network.Encode(), 0o644); err != nil {
		return nil, err
	}
	return OpenHome(dir)
}

// OpenHome reads a prepared home; ErrNoHome says that it is none. Of one whose keys
// are encrypted the private ones are there after Unlock.
func OpenHome(dir string) (*Home, error) {
	network, err := LoadNetwork(filepath.Join(dir, "network.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoHome, dir)
	}
	if err != nil {
		return nil, err
	}
	h := &Home{Dir: dir, Network: network}
	if err := h.readKeys(); err != nil {
		return nil, err
	}
	return h, nil
}

// prepared reports whether a home was prepared in dir, so that its keys are there, or
// lost.
func prepared(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, "network.json"))
	return err == nil
}

// Keys returns a home of no network yet, with its keys; those that are not
// there are made, unless others of them are encrypted: ErrSealed.
func Keys(dir string) (*Home, error) {
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		return nil, fmt.Errorf("make home: %w", err)
	}
	h := &Home{Dir: dir}
	files, err := keyFiles(dir, inUse)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(files, func(k keyFile) bool { return k.seed == nil && !k.away }) {
		if err := h.readKeys(); errors.Is(err, ErrKeyMissing) {
			return nil, fmt.Errorf("%w, but not all are there; run `granary init --encrypt` again", ErrSealed)
		} else if err != nil {
			return nil, err
		}
		return h, nil
	}
	for _, name := range keyNames {
		if err := makeKey(filepath.Join(dir, "keys", name), nil); err != nil {
			return nil, err
		}
	}
	return h, h.readKeys()
}

// Guest returns a home with a fresh identity for one command that belongs to
// no prepared home. Nothing is written; dir is where blocks are kept.
func Guest(dir string, network Network) (*Home, error) {
	_, node, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make identity: %w", err)
	}
	public := ledger.KeyOf(node)
	return &Home{
		Dir: dir, Network: network, Node: node, Publisher: node, Consensus: node, Attest: node,
		Public: PublicKeys{public, public, public, public},
	}, nil
}

// Validator is this home as a validator of a chain: what others vote on.
func (h *Home) Validator(chain, name string, power int64) (ledger.Validator, error) {
	id, err := h.PeerID()
	if err != nil {
		return ledger.Validator{}, err
	}
	keys, err := h.AttestKeys()
	if err != nil {
		return ledger.Validator{}, err
	}
	v := ledger.Validator{Name: name, Power: power, Consensus: h.Public.Consensus, Attest: ledger.KeyOf(keys[0]), Peer: ledger.PeerID(id)}
	v.Proof, err = ledger.Prove(chain, v.Consensus, keys[0])
	return v, err
}

// PeerID is the libp2p identity of the home's node.
func (h *Home) PeerID() (peer.ID, error) {
	key, err := crypto.UnmarshalEd25519PublicKey(h.Public.Node[:])
	if err != nil {
		return "", fmt.Errorf("node key: %w", err)
	}
	id, err := peer.IDFromPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("node key: %w", err)
	}
	return id, nil
}
