package light

import (
	"context"
	"errors"
	"fmt"

	"granary/ledger"
)

// Submit hands a transaction to up to three providers, so that none alone can
// keep it back. It returns nil once it waits at one of them, else a reason of
// package ledger that one gave, else ErrUnreachable. Submitting again what waits
// already does no harm.
func (c *Client) Submit(ctx context.Context, raw []byte) error {
	if _, err := ledger.ParseTx(raw); err != nil {
		return err
	}
	accepted := 0
	var refused, silent error
	for _, peer := range c.providers() {
		err := c.submit(ctx, peer, raw)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			if accepted++; accepted == wanted {
				return nil
			}
		case errors.Is(err, ErrUnreachable), errors.Is(err, ErrLying):
			silent = errors.Join(silent, c.note(peer, err))
		default:
			refused = err
		}
	}
	switch {
	case accepted > 0:
		return nil
	case refused != nil:
		return refused
	case silent != nil:
		return silent
	}
	return fmt.Errorf("%w: none is known", ErrUnreachable)
}

func (c *Client) submit(ctx context.Context, peer string, raw []byte) error {
	answer, err := c.send(ctx, peer, TxProtocol, raw)
	if err != nil {
		return err
	}
	var r txReply
	if err := unmarshal(answer, &r); err != nil {
		return lie{err}
	}
	if len(r.Detail) > maxDetail {
		return lie{fmt.Errorf("detail of %d bytes", len(r.Detail))}
	}
	if r.Code == ledger.CodeOther {
		return silence{errors.New(r.Detail)}
	}
	return ledger.CodeError(r.Code, r.Detail)
}

// Offer judges a light block that was heard without asking, before it is passed
// on: newer says that it is above what is verified and that its signatures lead
// there. It changes nothing: Update does. It returns errors for false blocks,
// and for those that signatures lead to only by others between.
func (c *Client) Offer(_ context.Context, lightBlock []byte) (newer bool, err error) {
	if len(lightBlock) > MaxReply {
		return false, fmt.Errorf("%w: light block of %d bytes", ledger.ErrMalformed, len(lightBlock))
	}
	block, err := parseLightBlock(lightBlock)
	if err != nil {
		return false, err
	}
	base := c.base()
	if base == nil || block.Height <= base.block.Height {
		return false, nil
	}
	if err := block.ValidateBasic(c.cfg.Genesis.ChainID); err != nil {
		return false, fmt.Errorf("%w: light block: %w", ledger.ErrMalformed, err)
	}
	v := verifier{period: c.cfg.TrustPeriod, now: c.cfg.Now()}
	return true, v.link(base.block, block)
}
