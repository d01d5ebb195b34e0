package light

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"

	"granary/ledger"
)

// DoubleSign says that a validator signed two votes in one round for different
// blocks, which an honest one never does.
type DoubleSign struct {
	Validator ledger.PublicKey // its consensus key
	Height    int64
	Round     int32
	Time      time.Time // in the first of the two votes, by its own clock
}

// DoubleSigns returns which validators of now, and of the genesis, are known to
// have signed twice, by height. It asks three providers at once. Each is proven, by
// two signatures of that validator; that no other did is not.
func (c *Client) DoubleSigns(ctx context.Context) ([]DoubleSign, error) {
	set, _, err := c.Network(ctx)
	if err != nil {
		return nil, err
	}
	known := slices.Concat(set, c.cfg.Genesis.Validators)
	var out []DoubleSign
	var failed error
	answered := 0
	var mu sync.Mutex // guards out, failed and answered
	c.several(ctx, func(asking context.Context, peer string) bool {
		found, err := c.askTwice(asking, peer, known)
		if err != nil && ctx.Err() == nil {
			err = c.note(peer, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed = errors.Join(failed, err)
			return false
		}
		answered++
		for _, d := range found {
			if !slices.ContainsFunc(out, d.same) {
				out = append(out, d)
			}
		}
		return true
	})
	if answered == 0 {
		return nil, cmp.Or(ctx.Err(), failed, ErrUnreachable)
	}
	slices.SortFunc(out, func(a, b DoubleSign) int { return int(a.Height - b.Height) })
	return out, nil
}

func (d DoubleSign) same(o DoubleSign) bool {
	return d.Validator == o.Validator && d.Height == o.Height && d.Round == o.Round
}

// askTwice asks one provider. Evidence against those who are not known is passed
// over: there is no telling whose key it is.
func (c *Client) askTwice(ctx context.Context, peer string, known []ledger.Validator) ([]DoubleSign, error) {
	r, err := call[twiceReply](ctx, c, peer, kindTwice, twiceRequest{Count: MaxEntries})
	if err != nil {
		return nil, err
	}
	if len(r.Evidence) > MaxEntries {
		return nil, lie{fmt.Errorf("%d pieces of evidence for %d", len(r.Evidence), MaxEntries)}
	}
	var out []DoubleSign
	for _, raw := range r.Evidence {
		d, err := checkTwice(c.cfg.Genesis.ChainID, raw, known)
		switch {
		case errors.Is(err, ledger.ErrNotValidator):
		case err != nil:
			return nil, lie{fmt.Errorf("evidence of double signing: %w", err)}
		default:
			out = append(out, d)
		}
	}
	return out, nil
}

// checkTwice checks that two votes contradict each other and that one of the
// known validators signed both. It returns ledger.ErrNotValidator for others.
func checkTwice(chain string, raw []byte, known []ledger.Validator) (DoubleSign, error) {
	var msg cmtproto.DuplicateVoteEvidence
	if err := msg.Unmarshal(raw); err != nil {
		return DoubleSign{}, err
	}
	e, err := types.DuplicateVoteEvidenceFromProto(&msg)
	if err != nil {
		return DoubleSign{}, err
	}
	if err := e.ValidateBasic(); err != nil { // each vote is one; their blocks differ
		return DoubleSign{}, err
	}
	a, b := e.VoteA, e.VoteB
	if a.Height != b.Height || a.Round != b.Round || a.Type != b.Type || !slices.Equal(a.ValidatorAddress, b.ValidatorAddress) {
		return DoubleSign{}, errors.New("the votes are of different rounds or validators")
	}
	for _, v := range known {
		key := cmted25519.PubKey(v.Consensus[:])
		if !slices.Equal(key.Address(), a.ValidatorAddress) {
			continue
		}
		for _, vote := range []*types.Vote{a, b} {
			if err := vote.Verify(chain, key); err != nil {
				return DoubleSign{}, err
			}
		}
		return DoubleSign{Validator: v.Consensus, Height: a.Height, Round: a.Round, Time: a.Timestamp}, nil
	}
	return DoubleSign{}, fmt.Errorf("%w: %s", ledger.ErrNotValidator, a.ValidatorAddress)
}

func serveTwice(src Source, q twiceRequest) (twiceReply, error) {
	if q.Count < 1 || q.Count > MaxEntries {
		return twiceReply{}, fmt.Errorf("%w: %d pieces of evidence", ledger.ErrMalformed, q.Count)
	}
	list, err := src.Evidence(int(q.Count))
	length := 0
	for i, e := range list {
		if length += len(e) + 8; length > MaxReply*3/4 {
			list = list[:i]
			break
		}
	}
	return twiceReply{Evidence: list}, err
}
