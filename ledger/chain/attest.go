package chain

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"

	"granary/ledger"
)

// Unattested returns the announcements that await a certificate and that no
// height has the attestation of the validator with this consensus key for, oldest
// first: what it has to check, also after a restart. It leaves out those of a set
// that the validator is not in.
func (c *Chain) Unattested(consensus ledger.PublicKey) ([]ledger.Announced, error) {
	var out []ledger.Announced
	err := view(c.db, func(s *ledger.State) error {
		pending, err := s.Pending()
		for _, a := range pending {
			set, err := s.SetOf(a.Index)
			if err != nil {
				return err
			}
			member := slices.ContainsFunc(set, func(v ledger.Validator) bool { return v.Consensus == consensus })
			if member && !slices.Contains(a.Attesters, consensus) {
				out = append(out, a)
			}
		}
		return err
	})
	return out, err
}

// Attest signs a validator's word for what it checked, and submits it: at most
// ledger.MaxAttestations, by ascending index. It returns what Submit does;
// ledger.ErrAttested or ledger.ErrExpired mean that nothing of it counts any
// more. A transaction that waits can be lost with the nodes that have it, so ask
// Unattested again at every Update.
func (c *Chain) Attest(ctx context.Context, key ed25519.PrivateKey, list []ledger.Attestation) error {
	var account ledger.Account
	err := view(c.db, func(s *ledger.State) (err error) {
		account, err = s.Account(ledger.KeyOf(key))
		return err
	})
	if err != nil {
		return err
	}
	// The next nonces may be those of transactions that wait.
	for nonce := account.Nonce + 1; ; nonce++ {
		raw, err := ledger.SignAttest(c.cfg.Genesis.ChainID, key, nonce, list)
		if err != nil {
			return err
		}
		err = c.Submit(ctx, raw)
		if !errors.Is(err, ledger.ErrNonce) || nonce == account.Nonce+ledger.NonceWindow {
			return err
		}
	}
}
