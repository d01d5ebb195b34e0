package light

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cmtlight "github.com/cometbft/cometbft/light"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	sm "github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/types"

	"granary/ledger"
)

const (
	// clockDrift is how far a header may lie in our future.
	clockDrift = 10 * time.Second

	// noExpiry is the trust period for CometBFT's check, which link makes first.
	noExpiry = 1 << 62

	// maxSkips bounds how many light blocks one verification fetches: a set of
	// 100 validators in which every hundredth height replaces one needs about 200
	// over 10,000 heights.
	maxSkips = 1024
)

// parseLightBlock reads a light block from protobuf.
func parseLightBlock(raw []byte) (*types.LightBlock, error) {
	var msg cmtproto.LightBlock
	if err := msg.Unmarshal(raw); err != nil {
		return nil, fmt.Errorf("%w: light block: %w", ledger.ErrMalformed, err)
	}
	block, err := types.LightBlockFromProto(&msg)
	if err != nil {
		return nil, fmt.Errorf("%w: light block: %w", ledger.ErrMalformed, err)
	}
	if block.SignedHeader == nil || block.Header == nil || block.Commit == nil || block.ValidatorSet == nil {
		return nil, fmt.Errorf("%w: light block lacks a part", ledger.ErrMalformed)
	}
	return block, nil
}

// verifier checks light blocks against what is trusted, at one moment.
type verifier struct {
	period time.Duration
	now    time.Time
}

// errUnlinked reports a block that too little of the trusted power signed to
// skip to it: those between are needed.
var errUnlinked = errors.New("too little of the trusted power signed it")

// link checks that block follows from trusted by signatures alone. Besides errors
// that say why the block is false it returns errUnlinked, ErrClock, or
// ErrCheckpoint if trusted is too old to be trusted.
func (v verifier) link(trusted, block *types.LightBlock) error {
	if cmtlight.HeaderExpired(trusted.SignedHeader, v.period, v.now) {
		return fmt.Errorf("%w: height %d, which was trusted last, is of %s", ErrCheckpoint, trusted.Height, trusted.Time.Format(time.RFC3339))
	}
	now := v.now
	if early := block.Time.Add(-clockDrift); early.After(now) {
		now = early.Add(time.Millisecond) // signatures first: from the future comes what anybody makes up
	}
	err := cmtlight.Verify(trusted.SignedHeader, trusted.ValidatorSet, block.SignedHeader, block.ValidatorSet,
		noExpiry, now, clockDrift, cmtlight.DefaultTrustLevel)
	var unlinked cmtlight.ErrNewValSetCantBeTrusted
	switch {
	case errors.As(err, &unlinked):
		return errUnlinked
	case err == nil && now != v.now:
		return fmt.Errorf("%w: height %d is of %s", ErrClock, block.Height, block.Time.Format(time.RFC3339))
	}
	return err
}

// way is how far a verification came that did not come to its end.
type way struct {
	block  *types.LightBlock // the highest that was verified, by signatures alone; nil: none
	beyond int64             // the lowest height that no signatures led to directly; 0: none known
}

// skip checks that target follows from trusted, with as few blocks between as
// signatures allow, which fetch gets. It goes on from where w stands, which is
// between the two, and leaves w where it came.
func (v verifier) skip(ctx context.Context, trusted, target *types.LightBlock, w *way, fetch func(context.Context, int64) (*types.LightBlock, error)) error {
	if w.block != nil {
		trusted = w.block
	}
	ahead := []*types.LightBlock{target} // to verify, the nearest last
	for skips := 0; len(ahead) > 0; {
		next := ahead[len(ahead)-1]
		err := v.link(trusted, next)
		if err == nil {
			trusted, ahead = next, ahead[:len(ahead)-1]
			*w = way{block: trusted}
			continue
		}
		if !errors.Is(err, errUnlinked) {
			return err
		}
		if skips++; skips > maxSkips {
			return fmt.Errorf("%d light blocks do not lead from height %d to %d", maxSkips, trusted.Height, target.Height)
		}
		// What an earlier try fetched in vain is not fetched again.
		if w.beyond <= trusted.Height+1 || w.beyond > next.Height {
			w.beyond = next.Height
		}
		between, err := fetch(ctx, trusted.Height+(w.beyond-trusted.Height)/2)
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return silence{err}
		}
		ahead = append(ahead, between)
	}
	return nil
}

// checkSigned checks that more than two thirds of a block's own validators signed
// it, and all the signatures there are: SignedAt depends on each.
func checkSigned(chain string, block *types.LightBlock) error {
	if err := block.ValidateBasic(chain); err != nil {
		return err
	}
	return block.ValidatorSet.VerifyCommitLightAllSignatures(chain, block.Commit.BlockID, block.Height, block.Commit)
}

// signedAt is when a block was signed by its validators' clocks: their median,
// weighted by power, which the next header will carry. The block's own time is
// that of the height before, up to a heartbeat older.
func signedAt(block *types.LightBlock) (time.Time, error) {
	return sm.MedianTime(block.Commit, block.ValidatorSet)
}

// genesisSet is CometBFT's form of the first validators.
func genesisSet(g ledger.Genesis) *types.ValidatorSet {
	var set []*types.Validator
	for _, v := range g.Validators {
		set = append(set, types.NewValidator(cmted25519.PubKey(v.Consensus[:]), v.Power))
	}
	return types.NewValidatorSet(set)
}

// genesisHead is the head that a network begins with.
func genesisHead(g ledger.Genesis) (ledger.Head, error) {
	s, err := ledger.Init(ledger.NewMemory(), g)
	if err != nil {
		return ledger.Head{}, err
	}
	return s.Head(), nil
}

// checkFirst checks that a block is the first height of the network.
func checkFirst(g ledger.Genesis, block *types.LightBlock) error {
	start, err := genesisHead(g)
	if err != nil {
		return err
	}
	hash := start.AppHash()
	switch {
	case block.Height != 1:
		return fmt.Errorf("height %d is not the first", block.Height)
	case !bytes.Equal(block.ValidatorsHash, genesisSet(g).Hash()):
		return errors.New("the first height has other validators than the genesis")
	case !bytes.Equal(block.AppHash, hash[:]):
		return errors.New("the first height has another state than the genesis")
	}
	return checkSigned(g.ChainID, block)
}
