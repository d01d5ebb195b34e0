package light

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cometbft/cometbft/types"

	"granary/ledger"
)

const (
	// wanted is how many providers an Update hears.
	wanted = 3

	// patience bounds the wait for the blocks between what is trusted and an
	// answer at a time: whoever makes up a height has a way to it that is long.
	patience = 5 * callTimeout
)

// State says what the client makes of the ledger.
type State string

// The states of a client.
const (
	Synced      State = "synced"      // the head is verified and fresh
	Lagging     State = "lagging"     // verified, and a provider has higher ones that could not be
	Stale       State = "stale"       // verified, and older than two heartbeats
	Forked      State = "forked"      // two signed chains were seen
	Unreachable State = "unreachable" // nothing could be verified this time
)

// Status is what an Update found.
type Status struct {
	State     State
	Height    int64     // of the verified header
	Time      time.Time // when its validators signed it, by their clocks
	Head      ledger.Head
	Providers int // that answered truthfully, as far as can be told; fewer than 3 see less
	Agreeing  int // of those, how many have this very chain

	// Behind is by how many heights the highest answer was above this, if it could
	// not be verified.
	Behind int64
}

// Update asks providers for news and verifies them. It returns what is verified
// now, also together with an error: ErrStale, ErrForked, ErrCheckpoint, ErrClock,
// ErrLying or ErrUnreachable, which leave what was trusted as it was.
func (c *Client) Update(ctx context.Context) (Status, error) {
	select {
	case c.updating <- struct{}{}:
		defer func() { <-c.updating }()
	case <-ctx.Done():
		return c.status(Status{}, ctx.Err())
	}
	heard, err := c.update(ctx)
	if errors.Is(err, ErrForked) {
		c.accuse(ctx)
	}
	return c.status(heard, err)
}

// status describes what is trusted after an update.
func (c *Client) status(heard Status, err error) (Status, error) {
	s := heard
	s.State = Synced
	t := c.base()
	if t == nil {
		s.State = Unreachable
		return s, err
	}
	s.Height, s.Head = t.block.Height, t.head
	signed, timeErr := signedAt(t.block)
	err = errors.Join(err, timeErr)
	s.Time = signed
	age := c.cfg.Now().Sub(signed)
	switch {
	case errors.Is(err, ErrForked):
		s.State = Forked
	case err != nil && s.Behind > 0:
		s.State = Lagging
	case err != nil:
		s.State = Unreachable
	case age > 2*c.cfg.Genesis.Params.Heartbeat:
		s.State = Stale
		err = fmt.Errorf("%w: height %d was signed %s ago", ErrStale, s.Height, age.Round(time.Millisecond))
	}
	return s, err
}

// update moves what is trusted to the highest head that verifies.
func (c *Client) update(ctx context.Context) (Status, error) {
	c.mu.Lock()
	forked := c.forked
	c.mu.Unlock()
	if forked != nil {
		return Status{}, forked
	}
	v := verifier{period: c.cfg.TrustPeriod, now: c.cfg.Now()}
	base, err := c.root(ctx, v)
	if err != nil {
		return Status{}, err
	}
	answers, err := c.hear(ctx, base.head.Size)
	if err != nil {
		return Status{}, err
	}
	best, err := c.best(ctx, v, base, answers)
	if err != nil {
		return Status{Behind: c.behind(base, answers)}, err
	}
	heard, err := c.compare(ctx, v, base, best, answers)
	if err != nil {
		return heard, err
	}
	return heard, c.trust(best)
}

// hear asks providers for their latest head and returns the answers, the highest
// first.
func (c *Client) hear(ctx context.Context, from uint64) ([]answer, error) {
	var (
		mu      sync.Mutex
		order   = c.providers()
		answers []answer // guarded by mu
		errs    error    // guarded by mu
	)
	c.several(ctx, func(asking context.Context, peer string) bool {
		a, err := c.ask(asking, peer, 0, from)
		if err != nil && ctx.Err() == nil {
			err = c.note(peer, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			errs = errors.Join(errs, err)
			return false
		}
		answers = append(answers, a)
		return true
	})
	switch {
	case len(answers) > 0:
		// The highest first; of equals that of the peer with the better
		// experience, whoever was quicker.
		slices.SortFunc(answers, func(a, b answer) int {
			return cmp.Or(cmp.Compare(b.block.Height, a.block.Height),
				cmp.Compare(slices.Index(order, a.peer), slices.Index(order, b.peer)))
		})
		return answers, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errs != nil:
		return nil, errs
	}
	return nil, fmt.Errorf("%w: none is known", ErrUnreachable)
}

// behind is how far the highest answer of those who were not caught lying is
// above base.
func (c *Client) behind(base *trusted, answers []answer) int64 {
	liars := c.Liars()
	for _, a := range answers {
		if liars[a.peer] == nil {
			return max(0, a.block.Height-base.block.Height)
		}
	}
	return 0
}

// best returns the highest answer that verifies, or base if none is higher. Those
// to which signatures lead directly go first. The others, for which one must ask
// on, can wait for another Update while there is a fresh one of the former.
func (c *Client) best(ctx context.Context, v verifier, base *trusted, answers []answer) (*trusted, error) {
	var found *trusted
	var far []answer // above what is found
	var errs, future error
	try := func(a answer) error {
		err := c.verify(ctx, v, base, a)
		switch {
		case err == nil:
			found = &trusted{block: a.block, head: a.head, peer: a.peer}
		case ctx.Err() != nil:
			return ctx.Err()
		case stops(err):
			return err
		case errors.Is(err, ErrClock): // true as far as can be told, and of no use
			future = err
		default:
			errs = errors.Join(errs, c.note(a.peer, err))
		}
		return nil
	}
	for _, a := range answers { // the highest first
		if found != nil {
			break
		}
		if a.block.Height <= base.block.Height {
			found = base
			break
		}
		if errors.Is(v.link(base.block, a.block), errUnlinked) {
			far = append(far, a)
		} else if err := try(a); err != nil {
			return nil, err
		}
	}
	if near := found; near == nil || !c.fresh(near) {
		for _, a := range far {
			if err := try(a); err != nil {
				return nil, err
			}
			if found != near {
				break
			}
		}
	}
	if found == nil {
		return nil, cmp.Or(future, errs)
	}
	return found, nil
}

// fresh reports whether what is trusted was signed less than two heartbeats ago.
func (c *Client) fresh(t *trusted) bool {
	signed, err := signedAt(t.block)
	return err == nil && c.cfg.Now().Sub(signed) <= 2*c.cfg.Genesis.Params.Heartbeat
}

// stops reports errors that no other provider can help with.
func stops(err error) bool {
	return errors.Is(err, ErrForked) || errors.Is(err, ErrCheckpoint)
}

// verify checks that an answer follows from base: by signatures, then by the log.
func (c *Client) verify(ctx context.Context, v verifier, base *trusted, a answer) error {
	if err := c.follows(ctx, v, base.block, a.block, a.peer); err != nil {
		return err
	}
	if a.head.Size < base.head.Size {
		return c.fork(fmt.Errorf("height %d takes the log back from size %d to %d", a.block.Height, base.head.Size, a.head.Size), base.block, a.block)
	}
	if a.head == base.head {
		return nil
	}
	if a.head.Size == base.head.Size {
		return c.fork(fmt.Errorf("height %d has another head of size %d", a.block.Height, a.head.Size), base.block, a.block)
	}
	return ledger.VerifyConsistency(base.head, a.head, a.proof)
}

// follows checks by signatures that a provider's block follows from a trusted one.
// If its provider does not show that within patience, that is silence; the next try
// goes on where this one ended, with whichever provider.
func (c *Client) follows(ctx context.Context, v verifier, from, to *types.LightBlock, peer string) error {
	fetch := func(ctx context.Context, height int64) (*types.LightBlock, error) {
		a, err := c.ask(ctx, peer, height, 0)
		return a.block, err
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w := &c.way
	if w.block != nil && w.block.Height <= from.Height {
		*w = way{}
	}
	if w.block != nil && w.block.Height >= to.Height {
		w = &way{}
	}
	continued := w.block != nil
	err := v.skip(waiting, from, to, w, fetch)
	if err != nil && continued && !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrClock) {
		// What we came to may be of another chain, but more likely the provider lies,
		// who must not take it from us.
		var again way
		err = v.skip(waiting, from, to, &again, fetch)
		if again.block != nil && again.block.Height >= w.block.Height {
			*w = again
		}
	}
	if err != nil {
		return err
	}
	return checkSigned(c.cfg.Genesis.ChainID, to)
}

// compare holds what providers answered against the best: the same height must
// have the same header. Of two different ones that both verify neither can be
// trusted; else who gave the one that does not verify lied.
func (c *Client) compare(ctx context.Context, v verifier, base, best *trusted, answers []answer) (Status, error) {
	var s Status
	for _, a := range answers {
		if c.Liars()[a.peer] != nil {
			continue
		}
		ours, err := c.ours(ctx, base, best, a.block.Height)
		switch {
		case err != nil:
			return s, err
		case ours == nil: // an older height than we can compare, or nobody to ask
			s.Providers++
		case bytes.Equal(ours.Hash(), a.block.Hash()):
			s.Providers++
			s.Agreeing++
		default:
			if err := c.conflict(ctx, v, base, best, ours, a); err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

// ours returns the block of a height on the chain that ends in best, as its
// provider gives it: nil if there is no way to tell.
func (c *Client) ours(ctx context.Context, base, best *trusted, height int64) (*types.LightBlock, error) {
	switch {
	case height == best.block.Height:
		return best.block, nil
	case height == base.block.Height:
		return base.block, nil
	case height < base.block.Height || height > best.block.Height || best.peer == "":
		return nil, nil
	}
	a, err := c.ask(ctx, best.peer, height, 0)
	if err != nil && ctx.Err() == nil {
		_ = c.note(best.peer, err) // best is verified whatever becomes of its provider
		return nil, nil
	}
	return a.block, err
}

// conflict settles a height of which two providers gave different blocks.
func (c *Client) conflict(ctx context.Context, v verifier, base, best *trusted, ours *types.LightBlock, a answer) error {
	settled := func(block *types.LightBlock, peer string) (bool, error) {
		if block == base.block || block == best.block {
			return true, nil
		}
		err := c.follows(ctx, v, base.block, block, peer)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err == nil || stops(err) || errors.Is(err, ErrClock) {
			return err == nil, err
		}
		_ = c.note(peer, err)
		return false, nil
	}
	if a.block.Height <= base.block.Height {
		// It cannot follow from base; that enough of its own validators signed it,
		// who are ours if they are those of base, shows the fork.
		err := checkSigned(c.cfg.Genesis.ChainID, a.block)
		if err == nil && bytes.Equal(a.block.ValidatorsHash, base.block.ValidatorsHash) {
			return c.fork(fmt.Errorf("height %d has the blocks %s and %s", a.block.Height, ours.Hash(), a.block.Hash()), ours, a.block)
		}
		_ = c.note(a.peer, fmt.Errorf("another block of height %d", a.block.Height))
		return nil
	}
	mine, err := settled(ours, best.peer)
	if err != nil {
		return err
	}
	theirs, err := settled(a.block, a.peer)
	if err != nil || !mine || !theirs {
		return err
	}
	return c.fork(fmt.Errorf("height %d has the blocks %s and %s", a.block.Height, ours.Hash(), a.block.Hash()), ours, a.block)
}
