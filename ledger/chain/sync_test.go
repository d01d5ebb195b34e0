package chain_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"granary/ledger/chain"
)

// forgetful keeps the last heights only, which our nodes never do.
type forgetful struct {
	abci.Application
	height int64
}

func (f *forgetful) FinalizeBlock(ctx context.Context, req *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	f.height = req.Height
	return f.Application.FinalizeBlock(ctx, req)
}

func (f *forgetful) Commit(ctx context.Context, req *abci.RequestCommit) (*abci.ResponseCommit, error) {
	res, err := f.Application.Commit(ctx, req)
	if err == nil {
		res.RetainHeight = max(0, f.height-3)
	}
	return res, err
}

func TestNewNodeSaysWhyItDoesNotComeOn(t *testing.T) {
	n := foundNetwork(t, 1, 2, 200*time.Millisecond)
	old, err := chain.OpenWith(t.Context(), n.config(0), func(a abci.Application) abci.Application { return &forgetful{Application: a} }, nil)
	if err != nil {
		t.Fatal(err)
	}
	n.nodes[0] = old
	eventually(t, "forgotten heights", func() bool { return old.Engine().BlockStore().Base() > 2 })

	c := n.start(1)
	stuck := func(want error) chain.Status {
		t.Helper()
		var s chain.Status
		eventually(t, want.Error(), func() bool {
			if s, err = c.Status(); err != nil {
				t.Fatal(err)
			}
			return errors.Is(s.Stuck, want)
		})
		return s
	}
	if s := stuck(chain.ErrHistory); !s.Syncing || s.Height != 0 || s.Highest < 3 {
		t.Errorf("status %+v", s)
	}
	n.stop(0)
	if s := stuck(chain.ErrAlone); !s.Syncing {
		t.Errorf("status %+v", s)
	}
}

func TestOneOfSeveralDoesNotSayHowHighTheChainIs(t *testing.T) {
	const lie = 9_999_999_999
	for _, tt := range []struct {
		claims []int64
		want   int64
	}{
		{nil, 0},
		{[]int64{12}, 12},
		{[]int64{lie, 12}, 12},
		{[]int64{12, 13, lie}, 13},
		{[]int64{3, lie, 12, 13}, 13},
		{[]int64{0, 0, 12, lie, 13, 14}, 13},
		{[]int64{lie, 14, 14, 14, 14, 14, lie, 14, 14}, 14},
	} {
		if got := chain.Credible(slices.Clone(tt.claims)); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.claims, got, tt.want)
		}
	}
}

func TestHaltedNodeSaysHowFarItCame(t *testing.T) {
	n := foundNetwork(t, 1, 0, 200*time.Millisecond)
	c := n.start(0)
	eventually(t, "a height", func() bool { s, err := c.Status(); return err == nil && s.Height > 1 })
	c.Halt(errors.New("the disk is gone"))
	if s, err := c.Status(); !errors.Is(err, chain.ErrHalted) || s.Height < 2 || s.Head.Size == 0 {
		t.Errorf("status %+v, %v", s, err)
	}
}
