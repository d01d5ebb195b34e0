package chain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/types"

	"granary/ledger"
)

// ErrSigner reports a signer with another key than the validator's.
var ErrSigner = errors.New("the signer has another key")

// Signer is a process of its own that has a validator's consensus key: it connects
// to this node and speaks the engine's protocol for signers. It is that process
// which keeps from signing twice.
type Signer struct {
	Address string           // where we listen for it: unix:///PATH, tcp://IP:PORT, or noise://PEER@IP:PORT
	Key     ledger.PublicKey // what it must sign by
}

const (
	// signerTries and signerPause are for how often a signer that is away is asked
	// for one signature. A vote that comes later than that counts for nobody.
	signerTries = 50
	signerPause = 100 * time.Millisecond
)

// awaitSigner listens for a signer and returns it once it has shown its key, or
// ctx has ended. stop ends it.
func (c *Chain) awaitSigner(ctx context.Context) (_ types.PrivValidator, stop func(), err error) {
	s := c.cfg.Signer
	if path, unix := strings.CutPrefix(s.Address, "unix://"); unix {
		// What a process left that was killed.
		if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
			if err := os.Remove(path); err != nil {
				return nil, nil, fmt.Errorf("listen for the signer: %w", err)
			}
		}
	}
	endpoint, err := privval.NewSignerListenerFromAddr(s.Address, cmted25519.PrivKey(c.cfg.NodeKey), logger{c.logger, c.halt})
	if err != nil {
		return nil, nil, fmt.Errorf("listen for the signer at %s: %w", s.Address, err)
	}
	client, err := privval.NewSignerClient(endpoint, c.cfg.Genesis.ChainID)
	if err != nil {
		return nil, nil, fmt.Errorf("listen for the signer at %s: %w", s.Address, err)
	}
	end := func() {
		_ = client.Close() // fails if it is closed, as stopping fails if it has stopped
		_ = endpoint.Stop()
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	c.logger.Warn("waiting for the signer", "address", s.Address)
	for {
		key, err := client.GetPubKey() // waits some seconds for it
		if err == nil && string(key.Bytes()) != string(s.Key[:]) {
			return nil, nil, fmt.Errorf("%w: %x, want %s", ErrSigner, key.Bytes(), s.Key)
		}
		if err == nil {
			return privval.NewRetrySignerClient(client, signerTries, signerPause), end, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("no signer at %s: %w", s.Address, ctx.Err())
		case <-time.After(signerPause):
		}
	}
}
