package light

import (
	"bytes"
	"context"
	"fmt"

	cmtlight "github.com/cometbft/cometbft/light"

	"granary/ledger"
)

// root returns what the next update builds on: what is trusted, else the
// checkpoint, else the first validators. A checkpoint above what is trusted goes
// before it: whoever set it wanted that.
func (c *Client) root(ctx context.Context, v verifier) (*trusted, error) {
	base, point := c.base(), c.cfg.Checkpoint
	switch {
	case point != nil && (base == nil || base.block.Height < point.Height):
		return c.fromCheckpoint(ctx, v, base, *point)
	case base == nil:
		return c.fromGenesis(ctx, v)
	case point != nil && base.block.Height == point.Height && !bytes.Equal(base.block.Hash(), point.Hash[:]):
		return nil, fmt.Errorf("%w: height %d was verified as %s, the checkpoint says %s", ErrCheckpoint, point.Height, base.block.Hash(), point.Hash)
	}
	return base, nil
}

// fromGenesis begins with the first height, which the first validators signed.
func (c *Client) fromGenesis(ctx context.Context, v verifier) (*trusted, error) {
	g := c.cfg.Genesis
	if !g.Time.Add(v.period).After(v.now) {
		return nil, fmt.Errorf("%w: the genesis is of %s, older than %s", ErrCheckpoint, g.Time, v.period)
	}
	var base *trusted
	err := c.each(ctx, func(peer string) error {
		a, err := c.ask(ctx, peer, 1, 0)
		if err != nil {
			return err
		}
		if err := checkFirst(g, a.block); err != nil {
			return contradiction{fmt.Errorf("%s has another chain: %w", peer, err)}
		}
		base = &trusted{block: a.block, head: a.head, peer: peer}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return base, c.trust(base)
}

// fromCheckpoint begins with the checkpoint. Its log must begin with the genesis,
// and with what was trusted before.
func (c *Client) fromCheckpoint(ctx context.Context, v verifier, old *trusted, point Checkpoint) (*trusted, error) {
	var from ledger.Head
	if old != nil {
		from = old.head
	}
	var base *trusted
	err := c.each(ctx, func(peer string) error {
		a, err := c.ask(ctx, peer, point.Height, from.Size)
		if err != nil {
			return err
		}
		if !bytes.Equal(a.block.Hash(), point.Hash[:]) {
			return contradiction{fmt.Errorf("%s has %s at height %d, the checkpoint says %s", peer, a.block.Hash(), point.Height, point.Hash)}
		}
		if err := checkSigned(c.cfg.Genesis.ChainID, a.block); err != nil {
			return lie{err}
		}
		if cmtlight.HeaderExpired(a.block.SignedHeader, v.period, v.now) {
			return fmt.Errorf("%w: that of height %d is of %s, older than %s", ErrCheckpoint, point.Height, a.block.Time, v.period)
		}
		if from.Size > 0 && from != a.head {
			if err := ledger.VerifyConsistency(from, a.head, a.proof); err != nil {
				return lie{err}
			}
		}
		if err := c.checkGenesis(ctx, peer, a.head); err != nil {
			return err
		}
		base = &trusted{block: a.block, head: a.head, peer: peer}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return base, c.trust(base)
}

// checkGenesis checks that a log begins with our genesis.
func (c *Client) checkGenesis(ctx context.Context, peer string, h ledger.Head) error {
	r, err := call[entriesReply](ctx, c, peer, kindEntries, entriesRequest{From: 0, Count: 1, Size: h.Size})
	if err != nil {
		return err
	}
	entries, err := checkEntries(r, h, 0, 1)
	if err != nil {
		return lie{err}
	}
	if entries[0].Genesis != c.cfg.Genesis.Hash() {
		return fmt.Errorf("%w: its log begins with genesis %s, ours is %s", ErrCheckpoint, entries[0].Genesis, c.cfg.Genesis.Hash())
	}
	return nil
}
