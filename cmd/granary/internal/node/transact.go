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

// maxAhead is how many transactions of ours may wait while we sign another.
const maxAhead = 16

// submit signs a transaction by key, which pays what it costs now, with the first
// nonce that is free, and hands it to the ledger, which the caller has updated. It
// returns it with the payment, and as it travels.
func (n *Node) submit(ctx context.Context, key ed25519.PrivateKey, tx ledger.Tx) (ledger.Tx, []byte, error) {
	account, err := n.light.Account(ctx, ledger.KeyOf(key))
	if err != nil {
		return tx, nil, fmt.Errorf("read own account: %w", err)
	}
	params, err := n.light.Params(ctx)
	if err != nil {
		return tx, nil, fmt.Errorf("read prices: %w", err)
	}
	tx.Pay = params.Price(tx)
	// What waits for a height is not in the account yet: the next nonces may be taken.
	for nonce := account.Nonce + 1; ; nonce++ {
		raw, err := ledger.Sign(n.cfg.Genesis.ChainID, key, nonce, tx)
		if err != nil {
			return tx, nil, fmt.Errorf("sign %s: %w", tx.Kind, err)
		}
		err = n.light.Submit(ctx, raw)
		if !errors.Is(err, ledger.ErrNonce) || nonce == account.Nonce+maxAhead {
			return tx, raw, err
		}
	}
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
