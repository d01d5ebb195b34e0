package node

import (
	"context"
	"fmt"
	"time"

	"granary/blobstore"
	"granary/erasure"
	"granary/ledger"
)

// examine is a validator's work on an announced block: it fetches any k rows,
// decodes, codes again, and attests the block if it is clean and whole here,
// and only then.
func (n *Node) examine(ctx context.Context, index uint64, b *blobstore.Block, r ledger.Record) error {
	began := time.Now()
	if !b.Whole() {
		if err := n.fetchWhole(ctx, b, r.Peers); err != nil {
			return fmt.Errorf("not attested: %w", err)
		}
	}
	if err := n.attest(ctx, index, b.ID()); err != nil {
		return fmt.Errorf("not attested: %w", err)
	}
	n.log.Info("block attested", "block", b.ID().Short(), "dur", time.Since(began))
	return n.seed(b)
}

// attest submits our word that the block announced at index is clean and
// whole here.
func (n *Node) attest(ctx context.Context, index uint64, id erasure.ID) error {
	n.attesting.Lock()
	defer n.attesting.Unlock()
	key := n.cfg.Validator.Attest
	var account ledger.Account
	var err error
	if verr := n.chain.View(func(s *ledger.State) { account, err = s.Account(ledger.KeyOf(key)) }); verr != nil || err != nil {
		return fmt.Errorf("read own account: %w", firstOf(verr, err))
	}
	// Nonces count up from the last that any height took; those still waiting
	// are remembered here.
	n.nonce = max(n.nonce, account.Nonce) + 1
	raw, err := ledger.SignAttest(n.cfg.Genesis.ChainID, key, n.nonce, []ledger.Attestation{{Index: index, ID: id}})
	if err != nil {
		return err
	}
	return n.chain.Submit(ctx, raw)
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// takeUpPending examines what was announced before this start and still
// awaits its certificate.
func (n *Node) takeUpPending() error {
	var waiting []ledger.Announced
	var err error
	if verr := n.chain.View(func(s *ledger.State) { waiting, err = s.Pending() }); verr != nil || err != nil {
		return fmt.Errorf("read pending announcements: %w", firstOf(verr, err))
	}
	for _, a := range waiting {
		n.announced(a.Index, a.Record)
	}
	return nil
}

// validatorShare is the pieces of a block of geometry g that we keep.
func (n *Node) validatorShare(g erasure.Geometry) erasure.PieceSet {
	set := n.cfg.Genesis.Validators
	for i, v := range set {
		if v.Consensus == ledger.KeyOf(n.cfg.Validator.Consensus) {
			return ledger.Share(n.cfg.Genesis.ChainID, set, i, g)
		}
	}
	return erasure.AllPieces(g.Pieces()) // not in the set: keep all that is here
}
