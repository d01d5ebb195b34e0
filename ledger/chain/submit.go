package chain

import (
	"context"
	"errors"
	"fmt"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/mempool"

	"granary/ledger"
)

// ErrBusy reports that too many transactions wait already: try again later.
var ErrBusy = errors.New("too many transactions wait")

// Submit hands a transaction to the network. It returns nil when the transaction
// waits here for a height to take it, or waited before, and otherwise why it is
// refused: one of package ledger's reasons, ErrBusy, or the node's Err. That it
// is in the log, Updates tells: one that waits can still be refused when its turn
// comes, and is forgotten if all nodes that have it end first.
func (c *Chain) Submit(ctx context.Context, raw []byte) error {
	if err := c.Err(); err != nil {
		return err
	}
	if _, err := ledger.ParseTx(raw); err != nil {
		return err
	}
	checked := make(chan *abci.ResponseCheckTx, 1)
	err := c.node.Mempool().CheckTx(raw, func(res *abci.ResponseCheckTx) { checked <- res }, mempool.TxInfo{})
	switch {
	case errors.Is(err, mempool.ErrTxInCache):
		return c.resubmitted(raw)
	case errors.As(err, &mempool.ErrMempoolIsFull{}), errors.Is(err, mempool.ErrRecheckFull):
		return ErrBusy
	case err != nil:
		return fmt.Errorf("submit transaction: %w", err)
	}
	select {
	case res := <-checked:
		return ledger.CodeError(res.Code, res.Log)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resubmitted answers for a transaction that came before: it waits, or the state
// says what became of it.
func (c *Chain) resubmitted(raw []byte) error {
	return view(c.db, func(s *ledger.State) error { return new(ledger.Mempool).Check(s, raw) })
}
