package chain

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"go.etcd.io/bbolt"

	"granary/ledger"
)

// PrepareProposal proposes what waits, less what the height would refuse: its
// time may have come since it was let in.
func (a *app) PrepareProposal(_ context.Context, req *abci.RequestPrepareProposal) (*abci.ResponsePrepareProposal, error) {
	o, err := a.outcome(req.Height, req.Time, req.Txs)
	if err != nil {
		return nil, a.broken("propose", req.Height, err)
	}
	res := &abci.ResponsePrepareProposal{}
	for i, refused := range o.applied.Results {
		if refused == nil {
			res.Txs = append(res.Txs, req.Txs[i])
		}
	}
	return res, nil
}

// ProcessProposal refuses a block with any transaction that the height would
// refuse: malformed, unpaid, badly signed, sent before, or in an order in which
// it cannot succeed. Whoever proposes that did not check it, and nobody would pay
// for the space that it takes for ever. All nodes have the same state when they
// are asked, so all honest ones agree.
func (a *app) ProcessProposal(_ context.Context, req *abci.RequestProcessProposal) (*abci.ResponseProcessProposal, error) {
	o, err := a.outcome(req.Height, req.Time, req.Txs)
	if err != nil {
		return nil, a.broken("judge a proposal for", req.Height, err)
	}
	a.judged = req.Height
	res := &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_ACCEPT}
	if slices.ContainsFunc(o.applied.Results, func(refused error) bool { return refused != nil }) {
		res.Status = abci.ResponseProcessProposal_REJECT
	}
	return res, nil
}

// broken stops this node: its own state failed it.
func (a *app) broken(what string, height int64, err error) error {
	err = fmt.Errorf("%s height %d: %w", what, height, err)
	a.halted(err)
	return err
}

// outcome is what a height comes to if the chain decides for this block. It
// stands on the state as it was last committed.
type outcome struct {
	height int64
	time   time.Time
	txs    [][]byte

	applied ledger.Applied
	changes []abci.ValidatorUpdate
	writes  map[string][]byte // to the state
}

// outcome returns what a block comes to. A block is tried when it is proposed,
// judged and decided, and worked out the first time only.
func (a *app) outcome(height int64, t time.Time, txs [][]byte) (*outcome, error) {
	if o := a.tried; o != nil && o.height == height && o.time.Equal(t) && slices.EqualFunc(o.txs, txs, bytes.Equal) {
		return o, nil
	}
	o := &outcome{height: height, time: t, txs: txs, writes: make(map[string][]byte)}
	err := a.db.View(func(tx *bbolt.Tx) error {
		s, err := ledger.Load(scratch{bucket{tx.Bucket(bucketState)}, o.writes})
		if err != nil {
			return err
		}
		before, err := s.Validators()
		if err != nil {
			return err
		}
		if o.applied, err = s.Apply(height, t, txs); err != nil {
			return err
		}
		after, err := s.Validators()
		o.changes = changes(before, after)
		return err
	})
	if err != nil {
		return nil, err
	}
	a.tried = o
	return o, nil
}

// write makes the outcome the state, in the order of its keys.
func (o *outcome) write(tx *bbolt.Tx) error {
	b := tx.Bucket(bucketState)
	for _, key := range slices.Sorted(maps.Keys(o.writes)) {
		if err := b.Put([]byte(key), o.writes[key]); err != nil {
			return err
		}
	}
	return nil
}

// scratch is a state whose changes stay in memory.
type scratch struct {
	bucket

	writes map[string][]byte
}

func (s scratch) Get(key []byte) []byte {
	if v, ok := s.writes[string(key)]; ok {
		return v
	}
	return s.bucket.Get(key)
}

func (s scratch) Put(key, value []byte) error {
	s.writes[string(key)] = value
	return nil
}
