package node

import (
	"context"
	"errors"

	"granary/erasure"
	"granary/ledger"
)

// Interrupt begins the work on the announcement of a block at a log index, ends
// it by end, and returns how many tasks wait and how many are tried later.
func Interrupt(info erasure.Info, index uint64, end func(stop func(), forget func(index uint64))) (waiting, later int) {
	n := &Node{pending: map[erasure.ID]pending{}}
	t := task{index: index, record: ledger.Record{Info: info}}
	ctx, stop := context.WithCancel(context.Background())
	n.pending[info.ID()] = pending{task: t, stop: stop}
	end(stop, n.forget)
	n.performed(ctx, t, errors.New("interrupted"))
	return len(n.waiting), len(n.later)
}
