package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/blobstore"
	"granary/erasure"
	"granary/sampling/kad"
	"granary/swarm"
)

const (
	helloTimeout = 5 * time.Second

	// Lookups repeat with growing pauses: the first ones matter while a small
	// network is still finding itself, later ones only find who joined since.
	firstPause = time.Second
	lastPause  = 30 * time.Second

	// headStart is how long peers that the user named are asked alone.
	headStart = 2 * time.Second

	// maxAsking bounds the peers asked at once by one lookup.
	maxAsking = 8
)

// eachHolder looks for holders of id again and again until ctx ends and calls
// visit for each that was asked, at most maxAsking at once. Peers in first are
// asked before any search.
func (n *Node) eachHolder(ctx context.Context, id erasure.ID, first []peer.ID, visit func(peer.ID, kad.Hello, error)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, maxAsking)
	ask := func(p peer.ID) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		wg.Go(func() {
			defer func() { <-slots }()
			hctx, cancel := context.WithTimeout(ctx, helloTimeout)
			defer cancel()
			hello, err := n.host.Hello(hctx, p, id)
			visit(p, hello, err)
		})
	}
	// Where somebody is known, the first round is theirs: when a block is
	// announced, all custodians would search the DHT at the same moment.
	search := len(first) == 0
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		for _, p := range first {
			ask(p)
		}
		if search {
			for h := range n.host.FindHolders(ctx, id) {
				ask(h.Peer)
			}
		}
		search = true
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// supplies says where a torrent's peers come from beside the DHT.
type supplies struct {
	first []peer.ID                // asked before any search
	named []netip.AddrPort         // by the user: added at once, with a head start
	heard func(peer.ID, kad.Hello) // told what each holder says; may be nil
}

// supply feeds t with the holders of id until done is called. Only a torrent
// address observed on an authenticated connection is ever added.
func (n *Node) supply(ctx context.Context, t *swarm.Torrent, id erasure.ID, s supplies) (done func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if len(s.named) > 0 {
			t.AddPeers(s.named...)
			awaitAnswer(ctx, t)
		}
		n.eachHolder(ctx, id, s.first, func(p peer.ID, hello kad.Hello, err error) {
			if err != nil || !hello.Known {
				return
			}
			if hello.Torrent.IsValid() {
				t.AddPeers(hello.Torrent)
			}
			if s.heard != nil {
				s.heard(p, hello)
			}
		})
	})
	return func() { cancel(); wg.Wait() }
}

// awaitAnswer returns once some peer of t has sent bytes, or headStart is over.
func awaitAnswer(ctx context.Context, t *swarm.Torrent) {
	ctx, cancel := context.WithTimeout(ctx, headStart)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for s := t.Status(); s.Read+s.Wasted == 0; s = t.Status() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// describe puts the block's description into the store: from the reference
// itself, from the first holder that has it, or from stock clients at addrs.
// It ends with ErrNotFound when ctx does.
func (n *Node) describe(ctx context.Context, ref Ref, first []peer.ID, addrs []netip.AddrPort) (*blobstore.Block, error) {
	if ref.Bundle != nil {
		return n.put(ctx, *ref.Bundle)
	}
	b, err := n.lookUp(ctx, ref.ID, first, addrs)
	if err != nil {
		return nil, err
	}
	// The lookup may have used up its time; what it brought is kept.
	return n.put(context.WithoutCancel(ctx), b)
}

// lookUp returns a block's description from the first holder that has it, or
// from stock clients at addrs. It ends with ErrNotFound when ctx does.
func (n *Node) lookUp(ctx context.Context, id erasure.ID, first []peer.ID, addrs []netip.AddrPort) (erasure.Bundle, error) {
	look, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	found := make(chan erasure.Bundle, 1)
	offer := func(b erasure.Bundle) {
		select {
		case found <- b:
			cancel()
		default:
		}
	}
	wg.Go(func() {
		n.eachHolder(look, id, first, func(p peer.ID, hello kad.Hello, err error) {
			if err != nil || !hello.Known {
				return
			}
			if b, err := n.host.Bundle(look, p, id); err == nil {
				offer(b)
			} else if look.Err() == nil {
				n.log.Debug("description refused", "peer", p, "block", id.Short(), "err", err)
			}
		})
	})
	if len(addrs) > 0 {
		wg.Go(func() {
			b, err := n.swarm.Describe(look, id, addrs)
			if err == nil {
				offer(b)
			} else if look.Err() == nil {
				n.log.Debug("no description from the swarm", "block", id.Short(), "err", err)
			}
		})
	}
	if n.cfg.Sources.Any() {
		wg.Go(func() { n.describeFound(look, id, offer) })
	}
	wg.Wait()
	select {
	case b := <-found:
		return b, nil
	default:
	}
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return erasure.Bundle{}, ctx.Err()
	}
	if err := n.foreign(context.WithoutCancel(ctx)); err != nil {
		return erasure.Bundle{}, err
	}
	return erasure.Bundle{}, fmt.Errorf("%w: %s", ErrNotFound, id)
}

// foreign returns kad.ErrOtherChain if the peers we are connected to, of which
// it asks a few, belong to another network.
func (n *Node) foreign(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	for i, p := range n.host.Peers() {
		if i == 3 {
			break
		}
		if _, err := n.host.Hello(ctx, p.Peer, erasure.ID{}); errors.Is(err, kad.ErrOtherChain) {
			return fmt.Errorf("the peers of this network file: %w", err)
		}
	}
	return nil
}
