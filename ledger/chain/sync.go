package chain

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cometbft/cometbft/blocksync"
	"github.com/cometbft/cometbft/p2p"
	bcproto "github.com/cometbft/cometbft/proto/tendermint/blocksync"
)

// Why a node that fetches old heights does not come on.
var (
	// ErrAlone reports that no node is connected on the consensus port.
	ErrAlone = errors.New("no other node of the chain is connected")

	// ErrHistory reports that the nodes connected have later heights, and none has
	// the next one: they have dropped it. A peer that keeps everything helps.
	ErrHistory = errors.New("no connected node has the next height")
)

// historians stands before the engine's reactor that fetches old heights, and
// notes what peers say they have. The engine tells nobody, and waits for ever.
type historians struct {
	*blocksync.Reactor

	mu   sync.Mutex
	have map[p2p.ID]span // guarded by mu
}

// span is the heights that a peer says it has: none if high is 0.
type span struct{ low, high int64 }

func (s span) has(height int64) bool { return s.low <= height && height <= s.high }

// listen puts historians before the reactor of a switch that has not started.
func listen(sw p2p.Switcher) (*historians, error) {
	const name = "BLOCKSYNC"
	r, _ := sw.Reactor(name)
	engine, ok := r.(*blocksync.Reactor)
	if !ok {
		return nil, fmt.Errorf("the engine fetches old heights by %T", r)
	}
	h := &historians{Reactor: engine, have: make(map[p2p.ID]span)}
	sw.RemoveReactor(name, engine)
	sw.AddReactor(name, h)
	return h, nil
}

// Receive implements p2p.Reactor.
func (h *historians) Receive(e p2p.Envelope) {
	if s, ok := e.Message.(*bcproto.StatusResponse); ok && s.Base >= 0 && s.Base <= s.Height {
		h.mu.Lock()
		h.have[e.Src.ID()] = span{s.Base, s.Height}
		h.mu.Unlock()
	}
	h.Reactor.Receive(e)
}

// RemovePeer implements p2p.Reactor.
func (h *historians) RemovePeer(peer p2p.Peer, reason any) {
	h.mu.Lock()
	delete(h.have, peer.ID())
	h.mu.Unlock()
	h.Reactor.RemovePeer(peer, reason)
}

// highest is the height that the chain has by what connected peers say.
func (h *historians) highest() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	var claims []int64
	for _, s := range h.have {
		claims = append(claims, s.high)
	}
	return credible(claims)
}

// credible is the highest height that more than a third of those who named one
// have, and not one of several alone: a height is free to name. 0 if nobody did.
func credible(claims []int64) int64 {
	if len(claims) == 0 {
		return 0
	}
	slices.Sort(claims)
	needed := min(len(claims), max(2, len(claims)/3+1))
	return claims[len(claims)-needed]
}

// lacks returns ErrHistory if peers have later heights than next and none has
// that, nil otherwise.
func (h *historians) lacks(next int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var lowest int64
	for _, s := range h.have {
		if s.has(next) {
			return nil
		}
		if s.low > next && (lowest == 0 || s.low < lowest) {
			lowest = s.low
		}
	}
	if lowest == 0 {
		return nil
	}
	return fmt.Errorf("%w: it is %d, and the lowest that they keep is %d", ErrHistory, next, lowest)
}
