package chain_test

import (
	"context"
	"errors"
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
