package chain

import (
	"encoding/binary"
	"fmt"

	"github.com/cometbft/cometbft/evidence"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
	"go.etcd.io/bbolt"

	"granary/ledger"
)

// maxAccused is how much evidence may wait for a height before more is refused:
// one who signs twice can do it any number of times.
const maxAccused = 64

// bucketEvidence has the heights whose blocks carry evidence. It is an index for
// this node alone: the evidence is in the engine's blocks, which stay.
var bucketEvidence = []byte("evidence")

// noteEvidence remembers that the block of a height carries evidence.
func noteEvidence(tx *bbolt.Tx, height int64) error {
	b, err := tx.CreateBucketIfNotExists(bucketEvidence)
	if err != nil {
		return err
	}
	return b.Put(binary.BigEndian.AppendUint64(nil, uint64(height)), []byte{})
}

// Evidence returns what shows that validators signed twice, each a
// tendermint.types.DuplicateVoteEvidence in protobuf: two votes of one validator
// in one round for different blocks. The chain has checked each. The latest come
// first, at most count.
func (c *Chain) Evidence(count int) ([][]byte, error) {
	if err := c.Err(); err != nil {
		return nil, err
	}
	var heights []int64
	err := c.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketEvidence)
		if b == nil {
			return nil
		}
		at := b.Cursor()
		for k, _ := at.Last(); k != nil && len(heights) < count; k, _ = at.Prev() {
			heights = append(heights, int64(binary.BigEndian.Uint64(k)))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for _, h := range heights {
		block := c.node.BlockStore().LoadBlock(h)
		if block == nil {
			return nil, fmt.Errorf("evidence of height %d: its block is not here", h)
		}
		for _, e := range block.Evidence.Evidence {
			if twice, ok := e.(*types.DuplicateVoteEvidence); ok && len(out) < count {
				out = append(out, twice.Bytes())
			}
		}
	}
	return out, nil
}

// Accuse hands evidence that a validator signed twice to the network, in the form
// that Evidence has; of it nothing counts but what the two votes sign. It returns
// ledger.ErrMalformed for what shows nothing, ledger.ErrNotFound for a height that
// is not decided here, and ErrBusy.
func (c *Chain) Accuse(raw []byte) error {
	if err := c.Err(); err != nil {
		return err
	}
	var msg cmtproto.DuplicateVoteEvidence
	if err := msg.Unmarshal(raw); err != nil {
		return fmt.Errorf("%w: evidence: %w", ledger.ErrMalformed, err)
	}
	said, err := types.DuplicateVoteEvidenceFromProto(&msg)
	if err != nil {
		return fmt.Errorf("%w: evidence: %w", ledger.ErrMalformed, err)
	}
	meta := c.node.BlockStore().LoadBlockMeta(said.Height())
	set, err := c.states.LoadValidatorsFast(said.Height())
	if meta == nil || err != nil {
		return fmt.Errorf("evidence of height %d: %w", said.Height(), ledger.ErrNotFound)
	}
	e, err := types.NewDuplicateVoteEvidence(signed(said.VoteA, set), signed(said.VoteB, set), meta.Header.Time, set)
	if err == nil {
		// The engine does so, too, but first goes through all heights since the set
		// last changed.
		err = evidence.VerifyDuplicateVote(e, c.cfg.Genesis.ChainID, set)
	}
	if err != nil {
		return fmt.Errorf("%w: evidence: %w", ledger.ErrMalformed, err)
	}
	pool := c.node.EvidencePool()
	if pool.Size() >= maxAccused {
		return ErrBusy
	}
	return pool.AddEvidence(e)
}

// signed returns of a vote only what its signature covers, and its validator's place
// in the set. With anything else in it, the same two votes would be as much other
// evidence as anybody likes, all of it true, and blocks would carry it for ever.
func signed(v *types.Vote, set *types.ValidatorSet) *types.Vote {
	place, _ := set.GetByAddress(v.ValidatorAddress)
	return &types.Vote{
		Type: v.Type, Height: v.Height, Round: v.Round, BlockID: v.BlockID, Timestamp: v.Timestamp,
		ValidatorAddress: v.ValidatorAddress, ValidatorIndex: place, Signature: v.Signature,
	}
}
