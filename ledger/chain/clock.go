package chain

import (
	"slices"
	"sync"
	"time"

	sm "github.com/cometbft/cometbft/state"
)

const (
	// clockDrift is how far a clock may be off without a word: as far as light
	// clients put up with.
	clockDrift = 10 * time.Second

	// clockHeights is how many heights must agree on that. One that was decided late,
	// when a partition ended, looks as if our clock were ahead.
	clockHeights = 3
)

// clock compares this machine's clock with those that the validators sign by.
type clock struct {
	mu    sync.Mutex
	ahead []time.Duration // guarded by mu: at the latest heights, the latest last
}

// note takes what our clock said when a height was decided, and the median of
// those that signed it.
func (c *clock) note(ours, theirs time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead = append(c.ahead, ours.Sub(theirs))
	c.ahead = c.ahead[max(0, len(c.ahead)-clockHeights):]
}

// skew is by how much our clock is ahead, the least that any of the latest
// heights says; negative if it is behind, 0 if it cannot be told from delay.
func (c *clock) skew() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ahead) < clockHeights {
		return 0
	}
	if least := slices.Min(c.ahead); least > clockDrift {
		return least
	}
	if most := slices.Max(c.ahead); most < -clockDrift {
		return most
	}
	return 0
}

// decided is called when a height was committed, with whether its block was judged
// here when it was proposed. Of others the time of arrival says nothing: they are
// old ones, that others had without us.
func (c *Chain) decided(height int64, judged bool) {
	if c.node == nil || !judged {
		return
	}
	commit := c.node.BlockStore().LoadSeenCommit(height)
	set, err := c.states.LoadValidatorsFast(height)
	if commit == nil || err != nil {
		return
	}
	if signed, err := sm.MedianTime(commit, set); err == nil {
		c.clock.note(c.cfg.Now(), signed)
	}
}
