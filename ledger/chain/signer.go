package chain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/cometbft/cometbft/consensus"
	"github.com/cometbft/cometbft/crypto"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/privval"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
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

// signerPause is how often a signer that is away is looked for.
const signerPause = 100 * time.Millisecond

// elsewhere signs by a signer. The engine stands still while it waits for a signature,
// and asks for none twice: as long as the network may need this one it is waited for,
// and no longer, so that the node follows the others without its signer.
type elsewhere struct {
	client *privval.SignerClient
	key    cmted25519.PubKey
	needed func(height int64) bool // false: that height is decided
	quit   chan struct{}
	end    func()
}

// GetPubKey implements types.PrivValidator.
func (s *elsewhere) GetPubKey() (crypto.PubKey, error) { return s.key, nil }

// SignVote implements types.PrivValidator.
func (s *elsewhere) SignVote(chainID string, vote *cmtproto.Vote) error {
	return s.ask(vote.Height, func() error {
		v := *vote
		err := s.client.SignVote(chainID, &v)
		if err == nil { // whatever else is in it, on which the engine might end
			vote.Signature, vote.Timestamp = v.Signature, v.Timestamp
		}
		return err
	})
}

// SignProposal implements types.PrivValidator.
func (s *elsewhere) SignProposal(chainID string, proposal *cmtproto.Proposal) error {
	return s.ask(proposal.Height, func() error {
		p := *proposal
		err := s.client.SignProposal(chainID, &p)
		if err == nil {
			proposal.Signature, proposal.Timestamp = p.Signature, p.Timestamp
		}
		return err
	})
}

// ask asks for a signature at a height until the signer gives or refuses it.
func (s *elsewhere) ask(height int64, sign func() error) error {
	for {
		if !s.client.IsConnected() && !s.needed(height) {
			return fmt.Errorf("the signer is away, and height %d is decided without it", height)
		}
		err := sign() // waits some seconds for it
		if _, refused := errors.AsType[*privval.RemoteSignerError](err); err == nil || refused {
			return err
		}
		select {
		case <-s.quit:
			return fmt.Errorf("the signer is away: %w", ErrClosed)
		case <-time.After(signerPause):
		}
	}
}

// Close ends the signer. The engine calls it before it waits for what signs.
func (s *elsewhere) Close() error {
	s.end()
	return nil
}

// undecided reports whether a height may still need our vote: connected nodes are not
// above it.
func (c *Chain) undecided(height int64) bool {
	var at []int64
	for _, p := range c.node.Switch().Peers().Copy() {
		if state, ok := p.Get(types.PeerStateKey).(*consensus.PeerState); ok && state.GetHeight() > 0 {
			at = append(at, state.GetHeight())
		}
	}
	return credible(at) <= height
}

// awaitSigner listens for a signer and returns it once it has shown its key, or
// ctx has ended. Its Close ends it.
func (c *Chain) awaitSigner(ctx context.Context) (_ *elsewhere, err error) {
	s := c.cfg.Signer
	if path, unix := strings.CutPrefix(s.Address, "unix://"); unix {
		// What a process left that was killed.
		if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
			if err := os.Remove(path); err != nil {
				return nil, fmt.Errorf("listen for the signer: %w", err)
			}
		}
	}
	endpoint, err := privval.NewSignerListenerFromAddr(s.Address, cmted25519.PrivKey(c.cfg.NodeKey), logger{c.logger, c.halt})
	if err != nil {
		return nil, fmt.Errorf("listen for the signer at %s: %w", s.Address, err)
	}
	client, err := privval.NewSignerClient(endpoint, c.cfg.Genesis.ChainID)
	if err != nil {
		return nil, fmt.Errorf("listen for the signer at %s: %w", s.Address, err)
	}
	signer := &elsewhere{client: client, key: s.Key[:], needed: c.undecided, quit: make(chan struct{})}
	signer.end = sync.OnceFunc(func() {
		close(signer.quit)
		_ = client.Close() // fails if it is closed, as stopping fails if it has stopped
		_ = endpoint.Stop()
	})
	defer func() {
		if err != nil {
			signer.end()
		}
	}()
	c.logger.Warn("waiting for the signer", "address", s.Address)
	for {
		key, err := client.GetPubKey() // waits some seconds for it
		if err == nil && string(key.Bytes()) != string(s.Key[:]) {
			return nil, fmt.Errorf("%w: %x, want %s", ErrSigner, key.Bytes(), s.Key)
		}
		if err == nil {
			return signer, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no signer at %s: %w", s.Address, ctx.Err())
		case <-time.After(signerPause):
		}
	}
}
