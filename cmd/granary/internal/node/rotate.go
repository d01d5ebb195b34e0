package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"granary/ledger"
)

// Rotate makes another attest key of this home that of its validator. Where that
// is so already it does nothing, and what was said before and still waits it
// waits for: it can be called again whatever became of an earlier call.
func (n *Node) Rotate(ctx context.Context, to ledger.Rotation, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := n.synced(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrOffline, err)
	}
	key, speaks, err := n.speaker(ctx)
	switch {
	case err != nil:
		return err
	case speaks && ledger.KeyOf(key) == to.Attest:
		return nil
	case !speaks:
		return fmt.Errorf("%w: no attest key of this home speaks for one", ledger.ErrNotValidator)
	}
	_, err = n.commit(ctx, key, ledger.Tx{Kind: ledger.KindRotate, Rotation: to}, patience)
	if !errors.Is(err, ledger.ErrNotValidator) {
		return err
	}
	// The key spoke a moment ago. So it was replaced, or a transaction that does so
	// waits, most likely that of an earlier call.
	return n.awaitKey(ctx, ledger.KeyOf(key), to.Attest, err)
}

// awaitKey waits until want is an attest key that speaks in the place of old. It
// returns refused if neither does.
func (n *Node) awaitKey(ctx context.Context, old, want ledger.PublicKey, refused error) error {
	for {
		set, err := n.presentSet(ctx)
		if err != nil {
			return err
		}
		has := func(key ledger.PublicKey) bool {
			return slices.ContainsFunc(set, func(v ledger.Validator) bool { return v.Attest == key })
		}
		if has(want) {
			return nil
		}
		if !has(old) {
			return refused
		}
		if n.chain == nil { // its own chain moves by itself
			_, _ = n.light.Update(ctx) // the next look tries again
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrNotCommitted, refused)
		case <-time.After(pollCustody):
		}
	}
}
