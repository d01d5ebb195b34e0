package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"granary/blobstore"
	"granary/erasure"
	"granary/ledger"
)

// examine is a validator's work on an announced block: it fetches any k rows,
// decodes, codes again, and attests the block if it is clean and whole here,
// and only then.
func (n *Node) examine(ctx context.Context, t task, b *blobstore.Block) error {
	began := time.Now()
	if !b.Whole() {
		if err := n.fetchWhole(ctx, b, t.record.Peers); err != nil {
			return fmt.Errorf("not attested: %w", err)
		}
	}
	err := n.attest(ctx, t.index, b.ID())
	if errors.Is(err, ledger.ErrAttested) || errors.Is(err, ledger.ErrExpired) {
		return n.seed(b) // said before, or too late to matter
	}
	if err != nil {
		return fmt.Errorf("not attested: %w", err)
	}
	n.log.Info("block attested", "block", b.ID().Short(), "dur", time.Since(began))
	return n.seed(b)
}

// attest submits our word that the block announced at index is clean and
// whole here.
func (n *Node) attest(ctx context.Context, index uint64, id erasure.ID) error {
	return n.chain.Attest(ctx, n.cfg.Validator.Attest, []ledger.Attestation{{Index: index, ID: id}})
}

// takeUpPending examines what awaits its certificate and has no word of ours in
// the log: at a start, and again whenever the log is looked at, since a
// transaction that waits can be lost with the nodes that have it.
func (n *Node) takeUpPending() error {
	waiting, err := n.chain.Unattested(ledger.KeyOf(n.cfg.Validator.Attest))
	if err != nil {
		return fmt.Errorf("read pending announcements: %w", err)
	}
	for _, a := range waiting {
		n.take(task{index: a.Index, record: a.Record})
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
