package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/erasure"
	"granary/sampling"
	"granary/sampling/kad"
)

const (
	// maxPerPiece is how many holders a sampler is given for one piece.
	maxPerPiece = 24

	// firstWait is how long the first round waits for lookups that are still
	// going on: validators are known without, and dead nodes delay lookups.
	firstWait = 400 * time.Millisecond
)

// rows asks holders for single rows, for the sampler.
type rows struct{ n *Node }

// Row implements sampling.Fetcher.
func (r rows) Row(ctx context.Context, h sampling.Holder, id erasure.ID, row int) ([]byte, []erasure.Root, error) {
	data, path, err := r.n.host.Row(ctx, peer.ID(h), id, row)
	for from, to := range map[error]error{
		kad.ErrNotHeld: sampling.ErrNotHeld, kad.ErrBusy: sampling.ErrBusy,
		kad.ErrPending: sampling.ErrPending, kad.ErrProtocol: sampling.ErrProtocol,
	} {
		if errors.Is(err, from) {
			err = fmt.Errorf("%w: %w", to, err)
		}
	}
	return data, path, err
}

// finder knows who may hold pieces, for one test: custodians and whole-block
// holders from the DHT, validators from the ledger.
type finder struct {
	n    *Node
	ctx  context.Context // lookups end with it
	stop context.CancelFunc
	work sync.WaitGroup // lookups

	mu      sync.Mutex
	lookups map[lookupKey]*lookup // guarded by mu
}

type lookupKey struct {
	id    erasure.ID
	round int
}

// lookup is one search for the holders of a block, while it goes on and after.
type lookup struct {
	done chan struct{} // closed when the search has ended

	mu    sync.Mutex
	found []kad.Holder // guarded by mu
}

func newFinder(ctx context.Context, n *Node) *finder {
	f := &finder{n: n, lookups: map[lookupKey]*lookup{}}
	f.ctx, f.stop = context.WithCancel(ctx)
	return f
}

// close ends the lookups that still go on.
func (f *finder) close() {
	f.stop()
	f.work.Wait()
}

// For implements sampling.Holders: custodians of the piece's group and holders
// of the whole block, in random order, then validators.
func (f *finder) For(ctx context.Context, id erasure.ID, piece, round int) []sampling.Holder {
	l := f.lookup(lookupKey{id, round})
	wait := firstWait
	if round > 0 {
		wait = helloTimeout
	}
	select {
	case <-l.done:
	case <-time.After(wait):
	case <-ctx.Done():
	}
	group := sampling.GroupSet(1) << sampling.GroupOf(id, piece)
	var named, others []sampling.Holder
	l.mu.Lock()
	for _, h := range l.found {
		if h.Block || h.Groups&group != 0 {
			named = append(named, sampling.Holder(h.Peer))
		} else if h.Groups != 0 {
			others = append(others, sampling.Holder(h.Peer)) // small blocks are owed by all custodians
		}
	}
	l.mu.Unlock()
	validators := []sampling.Holder{}
	for _, p := range f.n.validators() {
		validators = append(validators, sampling.Holder(p))
	}
	var all []sampling.Holder
	for _, hs := range [][]sampling.Holder{named, validators, others} {
		rand.Shuffle(len(hs), func(i, j int) { hs[i], hs[j] = hs[j], hs[i] })
		for _, h := range hs {
			if !slices.Contains(all, h) {
				all = append(all, h)
			}
		}
	}
	return all[:min(len(all), maxPerPiece)]
}

// lookup returns the search for key, which it starts if it is the first to ask.
func (f *finder) lookup(key lookupKey) *lookup {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.lookups[key]; l != nil {
		return l
	}
	l := &lookup{done: make(chan struct{})}
	f.lookups[key] = l
	f.work.Go(func() {
		defer close(l.done)
		for h := range f.n.host.FindHolders(f.ctx, key.id) {
			l.mu.Lock()
			l.found = append(l.found, h)
			l.mu.Unlock()
		}
	})
	return l
}
