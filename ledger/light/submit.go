package light

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"granary/ledger"
)

// Submit hands a transaction to three providers at once, so that none alone can
// keep it back. It returns nil once it waits at one of them, else a reason of
// package ledger that one gave, ErrNonce before others, else ErrUnreachable: then
// one may have it all the same. Submitting again what waits already does no harm.
//
// ErrNonce may mean that this very transaction is in the log, and any reason that
// only one gave may be a lie: see Transact.
func (c *Client) Submit(ctx context.Context, raw []byte) error {
	_, err := c.submitted(ctx, raw)
	return err
}

// submitted is Submit, and says whether a refusal rests on the word of one
// provider, while others were silent.
func (c *Client) submitted(ctx context.Context, raw []byte) (lone bool, err error) {
	if _, err := ledger.ParseTx(raw); err != nil {
		return false, err
	}
	var mu sync.Mutex
	accepted, refusals := false, 0
	var refused, silent error // guarded by mu, as accepted and refusals
	c.several(ctx, func(asking context.Context, peer string) bool {
		err := c.submit(asking, peer, raw)
		unanswered := errors.Is(err, ErrUnreachable) || errors.Is(err, ErrLying)
		if unanswered && ctx.Err() == nil {
			err = c.note(peer, err)
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			accepted = true
			return true
		case unanswered:
			silent = errors.Join(silent, err)
		case refused == nil || errors.Is(err, ledger.ErrNonce):
			refused = err
			fallthrough
		default:
			refusals++
		}
		return false
	})
	switch {
	case accepted:
		return false, nil
	case refused != nil:
		return refusals == 1 && silent != nil, refused
	case ctx.Err() != nil:
		return false, ctx.Err()
	case silent != nil:
		return false, silent
	}
	return false, fmt.Errorf("%w: none is known", ErrUnreachable)
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
