package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"granary/blobstore"
	"granary/cmd/granary/internal/deny"
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
	if n.deniesRecord(t.record) { // since a moment ago
		return fmt.Errorf("not attested: %w", deny.ErrDenied)
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

// abstention says why a validator attests nothing that it does not hold already:
// what became of its last examination, if that was for lack of space.
func (n *Node) abstention(err error) string {
	for _, full := range []error{blobstore.ErrQuota, blobstore.ErrDiskFull, syscall.ENOSPC} {
		if n.chain != nil && errors.Is(err, full) {
			return err.Error()
		}
	}
	return ""
}

// attest submits our word that the block announced at index is clean and
// whole here.
func (n *Node) attest(ctx context.Context, index uint64, id erasure.ID) error {
	key, err := n.attestKey(ctx)
	if err != nil {
		return err
	}
	return n.chain.Attest(ctx, key, []ledger.Attestation{{Index: index, ID: id}})
}

// attestKey returns that of our attest keys which speaks for a validator now. A
// key that is being rotated in is there beside the old one.
func (n *Node) attestKey(ctx context.Context) (ed25519.PrivateKey, error) {
	// A validator that was removed still has a word on what was announced before.
	key, _, err := n.speaker(ctx)
	return key, err
}

// speaker is attestKey, and whether the key does speak for a validator now.
func (n *Node) speaker(ctx context.Context) (_ ed25519.PrivateKey, speaks bool, _ error) {
	if n.cfg.AttestKeys == nil {
		return nil, false, fmt.Errorf("%w: this home has no attest key", ledger.ErrNotValidator)
	}
	keys, err := n.cfg.AttestKeys()
	if err != nil {
		return nil, false, err
	}
	set, err := n.presentSet(ctx)
	if err != nil {
		return nil, false, err
	}
	for _, key := range keys {
		if slices.ContainsFunc(set, func(v ledger.Validator) bool { return v.Attest == ledger.KeyOf(key) }) {
			return key, true, nil
		}
	}
	return keys[0], false, nil
}

// presentSet returns the validators as they are now: of our own chain, else as
// the verified head has them.
func (n *Node) presentSet(ctx context.Context) (set []ledger.Validator, err error) {
	if n.chain == nil {
		set, _, err = n.light.Network(ctx)
		return set, err
	}
	if viewed := n.chain.View(func(s *ledger.State) { set, err = s.Validators() }); viewed != nil {
		return nil, viewed
	}
	return set, err
}

// takeUpPending examines what awaits its certificate and has no word of ours in
// the log: at a start, and again whenever the log is looked at, since a
// transaction that waits can be lost with the nodes that have it.
func (n *Node) takeUpPending() error {
	waiting, err := n.chain.Unattested(n.cfg.Validator.key())
	if err != nil {
		return fmt.Errorf("read pending announcements: %w", err)
	}
	for _, a := range waiting {
		n.take(task{index: a.Index, record: a.Record})
	}
	return nil
}

// seat returns our place among the validators who certify the announcement at a
// log index, and these: -1 if we are none of them.
func (n *Node) seat(index uint64) (int, []ledger.Validator) {
	var set []ledger.Validator
	var err error
	if viewed := n.chain.View(func(s *ledger.State) { set, err = s.SetOf(index) }); viewed != nil || err != nil {
		return -1, nil
	}
	own := n.cfg.Validator.key()
	return slices.IndexFunc(set, func(v ledger.Validator) bool { return v.Consensus == own }), set
}

// kept is the pieces of an announced block that a validator would keep if its
// owner gave it up: all until it is certified.
func (n *Node) kept(b *blobstore.Block) erasure.PieceSet {
	certified := false
	if err := n.chain.View(func(s *ledger.State) {
		known, err := s.Block(b.ID())
		certified = err == nil && known.Certified
	}); err != nil || !certified {
		return erasure.AllPieces(b.Geometry().Pieces())
	}
	return n.validatorShare(b)
}

// validatorShare is the pieces of a certified block that we keep: by the set
// that certified it.
func (n *Node) validatorShare(b *blobstore.Block) erasure.PieceSet {
	var index uint64
	if err := n.chain.View(func(s *ledger.State) {
		if known, err := s.Block(b.ID()); err == nil {
			index = known.Certificate.Outcome.Announcement
		}
	}); err != nil {
		return erasure.AllPieces(b.Geometry().Pieces())
	}
	seat, set := n.seat(index)
	if seat < 0 {
		return erasure.AllPieces(b.Geometry().Pieces()) // not of that set: keep what is here
	}
	return ledger.Share(n.cfg.Genesis.ChainID, set, seat, b.Geometry())
}
