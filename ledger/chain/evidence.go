package chain

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/evidence"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
	"go.etcd.io/bbolt"

	"granary/ledger"
)

// maxAccused is how much evidence may wait for a height before more is refused:
// one who signs twice can do it at any number of heights.
const maxAccused = 64

// bucketTwice says of each validator, by its address, at which height it signed twice
// last, and which block carries the evidence. It is an index for this node alone: the
// evidence is in the engine's blocks, which stay.
var bucketTwice = []byte("signed twice")

// offence is what bucketTwice says of a validator.
type offence struct {
	who  []byte // its address
	at   int64  // the height of the two votes
	seen int64  // of the block
}

func (o offence) value() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(o.at)), uint64(o.seen))
}

func parseOffence(who, value []byte) (offence, error) {
	if len(value) != 16 {
		return offence{}, fmt.Errorf("%w: index of evidence", ledger.ErrCorrupt)
	}
	return offence{bytes.Clone(who), int64(binary.BigEndian.Uint64(value)), int64(binary.BigEndian.Uint64(value[8:]))}, nil
}

// noteEvidence remembers of whom the block of a height shows that they signed twice:
// the latest of each, lest who does it often hides others who did it once.
func noteEvidence(tx *bbolt.Tx, height int64, shown []abci.Misbehavior) error {
	b, err := tx.CreateBucketIfNotExists(bucketTwice)
	if err != nil {
		return err
	}
	for _, m := range shown {
		if m.Type != abci.MisbehaviorType_DUPLICATE_VOTE {
			continue
		}
		if old := b.Get(m.Validator.Address); old != nil {
			if o, err := parseOffence(m.Validator.Address, old); err != nil {
				return err
			} else if o.at >= m.Height {
				continue
			}
		}
		if err := b.Put(m.Validator.Address, offence{at: m.Height, seen: height}.value()); err != nil {
			return err
		}
	}
	return nil
}

// offences returns what bucketTwice says, the latest first.
func (c *Chain) offences() ([]offence, error) {
	var all []offence
	err := c.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketTwice)
		if b == nil {
			return nil
		}
		return b.ForEach(func(who, value []byte) error {
			o, err := parseOffence(who, value)
			all = append(all, o)
			return err
		})
	})
	slices.SortFunc(all, func(a, b offence) int { return cmp.Compare(b.at, a.at) })
	return all, err
}

// Evidence returns what shows that validators signed twice, each a
// tendermint.types.DuplicateVoteEvidence in protobuf: two votes of one validator
// in one round for different blocks. The chain has checked each. It is the latest of
// each validator, the latest of all first, at most count.
func (c *Chain) Evidence(count int) ([][]byte, error) {
	if err := c.Err(); err != nil {
		return nil, err
	}
	all, err := c.offences()
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for _, o := range all[:min(count, len(all))] {
		block := c.node.BlockStore().LoadBlock(o.seen)
		if block == nil {
			return nil, fmt.Errorf("evidence of height %d: its block is not here", o.seen)
		}
		if i := slices.IndexFunc(block.Evidence.Evidence, o.shownBy); i >= 0 {
			out = append(out, block.Evidence.Evidence[i].Bytes())
		}
	}
	return out, nil
}

func (o offence) shownBy(e types.Evidence) bool {
	twice, ok := e.(*types.DuplicateVoteEvidence)
	return ok && twice.Height() == o.at && bytes.Equal(twice.VoteA.ValidatorAddress, o.who)
}

// Accuse hands evidence that a validator signed twice to the network, in the form
// that Evidence has; of it nothing counts but what the two votes sign. It returns
// ledger.ErrMalformed for what shows nothing, ledger.ErrNotFound for a height that
// is not decided here, and ErrBusy. Of a validator who is known to have signed twice
// at that height, or later, it hands on no more: it could sign any number of times.
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
	if known, err := c.known(offence{who: said.VoteA.ValidatorAddress, at: said.Height()}, pool); known || err != nil {
		return err
	}
	if pool.Size() >= maxAccused {
		return ErrBusy
	}
	return pool.AddEvidence(e)
}

// known reports whether the chain shows an offence, or a later one of the same
// validator, or is about to.
func (c *Chain) known(o offence, pool *evidence.Pool) (bool, error) {
	all, err := c.offences()
	waiting, _ := pool.PendingEvidence(-1)
	return slices.ContainsFunc(all, func(k offence) bool { return bytes.Equal(k.who, o.who) && k.at >= o.at }) ||
		slices.ContainsFunc(waiting, o.shownBy), err
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
