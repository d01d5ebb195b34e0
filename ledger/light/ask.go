package light

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cometbft/cometbft/types"

	"granary/ledger"
)

// callTimeout bounds one request to one provider.
const callTimeout = 4 * time.Second

// lie is an answer that is provably false: whoever gave it is not asked again.
type lie struct{ reason error }

func (l lie) Error() string   { return l.reason.Error() }
func (l lie) Unwrap() error   { return l.reason }
func (l lie) Is(e error) bool { return e == ErrLying }

// silence is no answer, or none that helps: it says nothing about the provider.
type silence struct{ reason error }

func (s silence) Error() string   { return s.reason.Error() }
func (s silence) Unwrap() error   { return s.reason }
func (s silence) Is(e error) bool { return e == ErrUnreachable }

// contradiction is an answer that does not go with the network file: either that
// or the provider is wrong, or of another network.
type contradiction struct{ reason error }

func (d contradiction) Error() string { return d.reason.Error() }

// call sends a request of Protocol to a provider and reads the reply. Its errors
// are ErrLying for a reply that is no reply, ErrNotInLedger, errAhead, and
// ErrUnreachable for everything else.
func call[R any](ctx context.Context, c *Client, peer string, k kind, body any) (R, error) {
	var r R
	raw, err := c.send(ctx, peer, Protocol, marshal(request{Kind: k, Body: marshal(body)}))
	if err != nil {
		return r, err
	}
	var rep reply
	if err := unmarshal(raw, &rep); err != nil {
		return r, lie{err}
	}
	switch rep.Code {
	case codeOK:
		if err := unmarshal(rep.Body, &r); err != nil {
			return r, lie{err}
		}
		return r, nil
	case codeNotFound:
		return r, ErrNotInLedger
	case codeAhead:
		return r, errAhead
	}
	return r, silence{fmt.Errorf("refused with code %d", rep.Code)}
}

// send carries one message there and one back.
func (c *Client) send(ctx context.Context, peer, protocol string, req []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	raw, err := c.via.Call(ctx, peer, protocol, req)
	if err != nil {
		return nil, silence{err}
	}
	if len(raw) > MaxReply {
		return nil, lie{fmt.Errorf("reply of %d bytes", len(raw))}
	}
	return raw, nil
}

// each calls ask for one provider after the other, the best first, until one
// satisfies it. If none does, what the last said that was an answer counts most:
// ErrNotInLedger, errAhead or ErrCheckpoint; then ErrLying, then ErrUnreachable.
// That the network file is wrong only those count as an answer who are named by
// the first source: others just lose their place.
func (c *Client) each(ctx context.Context, ask func(peer string) error) error {
	var answer, lies, silent error
	for _, peer := range c.providers() {
		err := ask(peer)
		var against contradiction
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &against) && c.vouched(peer):
			answer = fmt.Errorf("%w: %w", ErrCheckpoint, err)
		case errors.As(err, &against):
			silent = errors.Join(silent, c.note(peer, silence{err}))
		case errors.Is(err, ErrNotInLedger), errors.Is(err, errAhead), errors.Is(err, ErrCheckpoint):
			answer = err
		default:
			err = c.note(peer, err)
			if errors.Is(err, ErrLying) {
				lies = errors.Join(lies, err)
			} else {
				silent = errors.Join(silent, err)
			}
		}
	}
	if err := cmp.Or(answer, lies, silent); err != nil {
		return err
	}
	return fmt.Errorf("%w: none is known", ErrUnreachable)
}

// note draws the consequence of an error for a provider, and names it. What is
// not silence is a lie.
func (c *Client) note(peer string, err error) error {
	if errors.Is(err, ErrUnreachable) || errors.Is(err, ErrNotInLedger) || errors.Is(err, errAhead) {
		c.failed(peer)
		return fmt.Errorf("%w: %s: %w", ErrUnreachable, peer, err)
	}
	c.lied(peer, err)
	return fmt.Errorf("%w: %s: %w", ErrLying, peer, err)
}

// answer is what a provider says the chain is.
type answer struct {
	peer  string
	block *types.LightBlock
	head  ledger.Head
	proof []ledger.Hash // consistency from the size asked for
}

// ask asks a provider for the light block of a height, 0 for the latest, and
// checks what needs no trust: the form, and that the header commits to the head.
func (c *Client) ask(ctx context.Context, peer string, height int64, from uint64) (answer, error) {
	r, err := call[headReply](ctx, c, peer, kindHead, headRequest{Height: height, From: from})
	if err != nil {
		return answer{}, err
	}
	block, err := parseLightBlock(r.Block)
	if err == nil {
		err = block.ValidateBasic(c.cfg.Genesis.ChainID)
	}
	if err == nil && height != 0 && block.Height != height {
		err = fmt.Errorf("height %d for %d", block.Height, height)
	}
	if err == nil {
		err = checkHead(block, r.Head.head())
	}
	if err != nil {
		return answer{}, lie{err}
	}
	return answer{peer, block, r.Head.head(), r.Consistency}, nil
}
