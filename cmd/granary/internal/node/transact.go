package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"granary/ledger"
	"granary/ledger/light"
)

// submit signs a transaction by key, which pays what it costs now, and hands it to
// the ledger, which the caller has updated. It returns it with the payment, and as
// it travels. It returns ErrNotCommitted if it cannot tell whether the ledger gets
// it.
func (n *Node) submit(ctx context.Context, key ed25519.PrivateKey, tx ledger.Tx) (ledger.Tx, []byte, error) {
	tx, raw, err := n.light.Transact(ctx, key, tx)
	if errors.Is(err, light.ErrUnsure) {
		err = fmt.Errorf("%w: %w", ErrNotCommitted, err)
	}
	return tx, raw, err
}

// commit submits a transaction and waits until it is in the log, at most
// patience; it returns ErrNotCommitted then.
func (n *Node) commit(ctx context.Context, key ed25519.PrivateKey, tx ledger.Tx, patience time.Duration) (light.Indexed, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := n.synced(ctx); err != nil {
		return light.Indexed{}, err
	}
	head, _ := n.light.Head()
	_, raw, err := n.submit(ctx, key, tx)
	if err != nil {
		return light.Indexed{}, err
	}
	for next := head.Size; ; {
		if err := n.synced(ctx); err != nil {
			return light.Indexed{}, fmt.Errorf("%w: %w", ErrNotCommitted, err)
		}
		for head, _ = n.light.Head(); next < head.Size; {
			entries, err := n.light.Entries(ctx, next, entriesAtOnce)
			if err != nil {
				break // the next look tries again
			}
			for _, e := range entries {
				if e.Kind == ledger.EntryTx && string(e.Tx.Encode()) == string(raw) {
					return light.Indexed{Index: next, Entry: e}, nil
				}
				next++
			}
		}
		select {
		case <-ctx.Done():
			return light.Indexed{}, fmt.Errorf("%w: it still waits after %v", ErrNotCommitted, patience)
		case <-time.After(pollCustody):
		}
	}
}
