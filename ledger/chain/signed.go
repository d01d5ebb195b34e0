package chain

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/types"
)

// ErrSigned reports that what a validator signed last cannot be read. Signing
// without knowing it could be signing twice, so the node refuses to start.
var ErrSigned = errors.New("the validator's last signature cannot be read")

// openSigner returns what signs votes, and never two at one height, round and
// step. A full node gets a key that nobody else has, made from its node key: the
// engine wants one, and finds it in no set.
func openSigner(cfg Config) (types.PrivValidator, error) {
	key := cfg.Key
	if key == nil {
		seed := sha256.Sum256(append([]byte("granary/observer/v1"), cfg.NodeKey.Seed()...))
		key = ed25519.NewKeyFromSeed(seed[:])
	}
	path := filepath.Join(cfg.Dir, "data", "signed.json")
	pv := privval.NewFilePV(cmted25519.PrivKey(key), "", path)
	last, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return pv, nil
	}
	if err == nil {
		err = cmtjson.Unmarshal(last, &pv.LastSignState)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrSigned, path, err)
	}
	return pv, nil
}
