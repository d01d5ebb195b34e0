package chain

import (
	"fmt"

	"github.com/cometbft/cometbft/types"

	"granary/ledger"
)

// LightBlock returns the light block of a height in protobuf: header, commit and
// validator set, which is all that a light client verifies. Height 0 is the
// latest. It returns ledger.ErrNotFound for one
// that is not there (yet).
//
// The header of a height has the AppHash after the height before it.
func (c *Chain) LightBlock(height int64) ([]byte, error) {
	if err := c.Err(); err != nil {
		return nil, err
	}
	blocks := c.node.BlockStore()
	latest := blocks.Height()
	if height == 0 {
		height = latest
	}
	if height < max(1, blocks.Base()) || height > latest {
		return nil, fmt.Errorf("height %d of %d: %w", height, latest, ledger.ErrNotFound)
	}
	meta := blocks.LoadBlockMeta(height)
	commit := blocks.LoadBlockCommit(height)
	if commit == nil { // the next block brings it; until then, what this node saw
		commit = blocks.LoadSeenCommit(height)
	}
	if meta == nil || commit == nil {
		return nil, fmt.Errorf("height %d is being stored: %w", height, ledger.ErrNotFound)
	}
	set, err := c.states.LoadValidatorsFast(height)
	if err != nil {
		return nil, fmt.Errorf("light block %d: %w", height, err)
	}
	for _, v := range set.Validators {
		v.ProposerPriority = 0 // which nothing signs, and which would take 10 bytes
	}
	block := types.LightBlock{SignedHeader: &types.SignedHeader{Header: &meta.Header, Commit: commit}, ValidatorSet: set}
	msg, err := block.ToProto()
	if err != nil {
		return nil, fmt.Errorf("light block %d: %w", height, err)
	}
	return msg.Marshal()
}

// validatorSets gives the set of any height. The engine's store has it, beside a
// slower way that computes, height by height, who may propose.
type validatorSets interface {
	LoadValidatorsFast(height int64) (*types.ValidatorSet, error)
}
