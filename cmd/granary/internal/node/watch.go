package node

import (
	"context"
	"time"

	"granary/ledger"
)

// pollHead is how often a watcher looks whether the verified head has moved.
const pollHead = 200 * time.Millisecond

// Watched is one thing a watcher sees: a head of the ledger, or the verdict on
// a block that was certified since it began.
type Watched struct {
	Ledger  *LedgerStatus `json:"ledger,omitempty"`
	Verdict *VerifyResult `json:"verdict,omitempty"`
}

// Watch follows the verified head and tests every block that is certified from
// now on, one after the other, until ctx ends.
func (n *Node) Watch(ctx context.Context, opt VerifyOptions, emit func(Watched)) error {
	if opt.Patience == 0 {
		opt.Patience = verifyPatience
	}
	var next uint64
	var told LedgerStatus
	tick := time.NewTicker(pollHead)
	defer tick.Stop()
	for {
		n.mu.Lock()
		now := n.ledger
		n.mu.Unlock()
		if now.State != told.State || now.Size != told.Size {
			told = now
			emit(Watched{Ledger: &now})
		}
		if next == 0 {
			next = now.Size // what was certified before is no news
		}
		for next < now.Size {
			entries, err := n.light.Entries(ctx, next, entriesAtOnce)
			if err != nil {
				break // the next look tries again
			}
			for _, e := range entries {
				if e.Kind == ledger.EntryCertified {
					n.watchBlock(ctx, e, opt, emit)
				}
			}
			next += uint64(len(entries))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// watchBlock tests one block, once its holders have had their time.
func (n *Node) watchBlock(ctx context.Context, e ledger.Entry, opt VerifyOptions, emit func(Watched)) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(time.Until(e.Time.Add(n.cfg.Genesis.Params.SamplingGrace))):
	}
	v, err := n.Verify(ctx, Ref{ID: e.Outcome.ID}, opt, nil)
	if err != nil {
		v.Err = err.Error()
	}
	if ctx.Err() == nil {
		r := v.Result()
		emit(Watched{Verdict: &r})
	}
}
