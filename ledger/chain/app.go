package chain

import (
	"context"
	"fmt"

	abci "github.com/cometbft/cometbft/abci/types"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"go.etcd.io/bbolt"

	"granary/ledger"
)

// appVersion is the version of the rules: nodes with other rules are refused as
// peers.
const appVersion = 1

// app is the application that CometBFT drives: a translation of its calls to the
// state's. CometBFT never has two calls running at once.
type app struct {
	abci.BaseApplication

	db *bbolt.DB

	// tx holds what FinalizeBlock applied until Commit makes it last.
	tx *bbolt.Tx

	tried *outcome // what the last block that was tried comes to; nil: none since the last commit

	judged int64 // the last height for which a proposal was judged

	waiting ledger.Mempool // what CheckTx let in since the last commit

	commits *signal
	halted  func(reason error)
	decided func(height int64, judged bool) // called with each that is committed
}

// Info tells the engine where the state is, so that it replays what is missing.
func (a *app) Info(context.Context, *abci.RequestInfo) (*abci.ResponseInfo, error) {
	res := &abci.ResponseInfo{Data: "granary", AppVersion: appVersion}
	err := view(a.db, func(s *ledger.State) error {
		res.LastBlockHeight = s.Height()
		if s.Height() > 0 { // at height 0 the engine takes the hash from InitChain
			hash := s.Head().AppHash()
			res.LastBlockAppHash = hash[:]
		}
		return nil
	})
	return res, err
}

// InitChain gives the first head. The state began in openStore, with the genesis
// that CometBFT's was derived from.
func (a *app) InitChain(_ context.Context, req *abci.RequestInitChain) (*abci.ResponseInitChain, error) {
	res := &abci.ResponseInitChain{}
	err := view(a.db, func(s *ledger.State) error {
		if s.Height() != 0 || s.Chain() != req.ChainId {
			return fmt.Errorf("begin chain %s: the state is at height %d of %s", req.ChainId, s.Height(), s.Chain())
		}
		hash := s.Head().AppHash()
		res.AppHash = hash[:]
		return nil
	})
	return res, err
}

// CheckTx says whether a transaction may wait. The code and the text are what
// Submit returns, here or on another node.
func (a *app) CheckTx(_ context.Context, req *abci.RequestCheckTx) (*abci.ResponseCheckTx, error) {
	res := &abci.ResponseCheckTx{}
	err := view(a.db, func(s *ledger.State) error { return a.waiting.Check(s, req.Tx) })
	if err != nil {
		res.Code, res.Log = ledger.Code(err), err.Error()
	}
	return res, nil
}

// FinalizeBlock applies a block that is decided. An error stops this node: it
// cannot go on without what others have.
func (a *app) FinalizeBlock(_ context.Context, req *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	res, err := a.apply(req)
	if err != nil {
		err = fmt.Errorf("apply height %d: %w", req.Height, err)
		a.halted(err)
	}
	return res, err
}

func (a *app) apply(req *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	if err := a.rollback(); err != nil {
		return nil, err
	}
	o, err := a.outcome(req.Height, req.Time, req.Txs)
	if err != nil {
		return nil, err
	}
	if a.tx, err = a.db.Begin(true); err != nil {
		return nil, err
	}
	if err := o.write(a.tx); err != nil {
		return nil, err
	}
	if len(req.Misbehavior) > 0 {
		if err := noteEvidence(a.tx, req.Height, req.Misbehavior); err != nil {
			return nil, err
		}
	}
	hash := o.applied.Head.AppHash()
	res := &abci.ResponseFinalizeBlock{
		AppHash: hash[:], TxResults: make([]*abci.ExecTxResult, len(req.Txs)),
		ValidatorUpdates: o.changes,
	}
	for i, refused := range o.applied.Results {
		// Only the code is hashed into the next header: texts may differ between versions.
		res.TxResults[i] = &abci.ExecTxResult{Code: ledger.Code(refused)}
	}
	return res, nil
}

// changes is what the engine must know to go from one set to the next: it votes
// by the new one two heights later. Attest keys and peers are none of its
// business.
func changes(before, after []ledger.Validator) []abci.ValidatorUpdate {
	power := make(map[ledger.PublicKey]int64)
	for _, v := range before {
		power[v.Consensus] = v.Power
	}
	var out []abci.ValidatorUpdate
	for _, v := range after {
		if power[v.Consensus] != v.Power {
			out = append(out, abci.UpdateValidator(v.Consensus[:], v.Power, cmted25519.KeyType))
		}
		delete(power, v.Consensus)
	}
	for _, v := range before {
		if _, gone := power[v.Consensus]; gone {
			out = append(out, abci.UpdateValidator(v.Consensus[:], 0, cmted25519.KeyType))
		}
	}
	return out
}

// Commit makes what FinalizeBlock applied last, and tells who waits for it.
func (a *app) Commit(context.Context, *abci.RequestCommit) (*abci.ResponseCommit, error) {
	height := a.tried.height
	err := a.tx.Commit()
	a.tx, a.tried = nil, nil
	if err != nil {
		err = fmt.Errorf("commit height %d: %w", height, err)
		a.halted(err)
		return nil, err
	}
	a.decided(height, height == a.judged)
	a.commits.raise()
	return &abci.ResponseCommit{}, nil
}

// rollback forgets what was applied and not committed.
func (a *app) rollback() error {
	if a.tx == nil {
		return nil
	}
	tx := a.tx
	a.tx = nil
	return tx.Rollback()
}
