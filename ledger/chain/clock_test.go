package chain_test

import (
	"context"
	"sync"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"

	"granary/ledger/chain"
)

// skewed signs what a node signs whose clock is wrong: the times of its votes are
// all of the clock that others act on. No vote is older than the block it is for,
// whatever the clock says.
type skewed struct {
	types.PrivValidator
	abci.Application

	by    time.Duration
	mu    sync.Mutex
	times map[string]time.Time // guarded by mu: of proposals, by hash
}

func openSkewed(ctx context.Context, cfg chain.Config, by time.Duration) (*chain.Chain, error) {
	s := &skewed{by: by, times: make(map[string]time.Time)}
	return chain.OpenWith(ctx, cfg,
		func(a abci.Application) abci.Application { s.Application = a; return s },
		func(pv types.PrivValidator) types.PrivValidator { s.PrivValidator = pv; return s })
}

func (s *skewed) ProcessProposal(ctx context.Context, req *abci.RequestProcessProposal) (*abci.ResponseProcessProposal, error) {
	s.mu.Lock()
	s.times[string(req.Hash)] = req.Time
	s.mu.Unlock()
	return s.Application.ProcessProposal(ctx, req)
}

func (s *skewed) SignVote(chainID string, v *cmtproto.Vote) error {
	s.mu.Lock()
	least := s.times[string(v.BlockID.Hash)]
	s.mu.Unlock()
	if v.Timestamp = v.Timestamp.Add(s.by); !least.IsZero() && v.Timestamp.Before(least) {
		v.Timestamp = least.Add(time.Millisecond)
	}
	return s.PrivValidator.SignVote(chainID, v)
}

// TestClockOfOneValidatorMayBeWrong has one of four sign by a clock that is ten
// minutes ahead, then ten behind: the others' clocks are what counts, and it
// learns that its own is wrong.
func TestClockOfOneValidatorMayBeWrong(t *testing.T) {
	t.Parallel() // most of it is waiting
	n := foundNetwork(t, 4, 0, 500*time.Millisecond)
	n.genesis.Time = n.genesis.Time.Add(-time.Hour) // it has begun, by whatever clock
	began := time.Now()
	for i := range 3 {
		n.start(i)
	}
	for round, skew := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		if n.nodes[3] != nil {
			n.stop(3)
		}
		cfg := n.config(3)
		cfg.Now = func() time.Time { return time.Now().Add(skew) }
		c, err := openSkewed(t.Context(), cfg, skew)
		if err != nil {
			t.Fatal(err)
		}
		n.nodes[3] = c
		eventually(t, "a word on its clock", func() bool {
			s, err := c.Status()
			if err != nil {
				t.Fatal(err)
			}
			return s.ClockAhead.Round(5*time.Minute) == skew
		})
		n.certify("alice", uint64(round+1), 0, 0, 1, 3)
		n.sameHead(3)
		s, err := n.nodes[0].Status()
		if err != nil {
			t.Fatal(err)
		}
		if s.ClockAhead != 0 {
			t.Errorf("a good clock is said to be %s ahead", s.ClockAhead)
		}
	}
	var signed int
	status, err := n.nodes[0].Status()
	if err != nil {
		t.Fatal(err)
	}
	for h := int64(1); h < status.Height; h++ { // the first has the time of the genesis
		at := blockTime(t, n.nodes[0], h+1)
		if at.Before(began.Add(-5*time.Minute)) || at.After(time.Now().Add(5*time.Minute)) {
			t.Errorf("height %d is of %s", h+1, at)
		}
		commit := n.nodes[0].Engine().BlockStore().LoadSeenCommit(h + 1)
		for _, s := range commit.Signatures {
			if s.Timestamp.After(time.Now().Add(5 * time.Minute)) {
				signed++
			}
		}
	}
	if signed == 0 {
		t.Error("the wrong clock signed nothing")
	}
}
