package chain

import (
	"cmp"
	"time"

	"granary/ledger"
)

// Status is how a node is doing.
type Status struct {
	Height  int64 // applied
	Head    ledger.Head
	Syncing bool // still fetching old heights from others
	Peers   int  // connected on the consensus port
	Waiting int  // transactions that wait here

	// Highest is the highest height that more than a third of the connected nodes,
	// and not one of several alone, said they have when they were last asked, which
	// is every ten seconds while Syncing; 0 if none said. Of a single node it is just
	// that one's word.
	Highest int64

	// Stuck is why Syncing makes no progress: ErrAlone or ErrHistory. In the first
	// seconds after a start nobody is connected, of course.
	Stuck error

	// ClockAhead is how far this machine's clock is ahead of those that the
	// validators sign by, negative if it is behind; 0 below 10 seconds, or while it
	// cannot be told. Heights take the median of the clocks, so a validator whose
	// clock is wrong does no harm but to itself.
	ClockAhead time.Duration
}

// Status returns how the node is doing, or its Err: with ErrHalted, how far it had
// come.
func (c *Chain) Status() (Status, error) {
	var s Status
	err := c.View(func(state *ledger.State) { s.Height, s.Head = state.Height(), state.Head() })
	if err := cmp.Or(c.Err(), err); err != nil {
		return s, err
	}
	s.Syncing = c.node.ConsensusReactor().WaitSync()
	s.Peers = c.node.Switch().Peers().Size()
	s.Waiting = c.node.Mempool().Size()
	s.ClockAhead = c.clock.skew()
	s.Highest = c.peers.highest()
	switch {
	case !s.Syncing:
	case s.Peers == 0:
		s.Stuck = ErrAlone
	default:
		s.Stuck = c.peers.lacks(s.Height + 1)
	}
	return s, nil
}
