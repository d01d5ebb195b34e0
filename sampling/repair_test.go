package sampling_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"granary/erasure"
	"granary/sampling"
)

const (
	keepPatience = 10 * time.Minute
	keepSlot     = 2 * time.Minute
	keepRebuild  = time.Minute // what fetching K rows takes
)

// commons is a network of custodians that owe the same pieces of one block, the
// rest of whose rows others hold.
type commons struct {
	mu      sync.Mutex // guards what follows
	shares  []*commonShare
	rebuilt int
}

// commonShare is one custodian's share in a commons.
type commonShare struct {
	*commons
	id     []byte
	held   bool
	silent bool     // neither serves nor answers
	fails  bool     // cannot rebuild
	lies   [][]byte // who say that they lack it too, and are not there
}

func (c *commons) add(name string) *commonShare {
	s := &commonShare{commons: c, id: []byte(name)}
	c.shares = append(c.shares, s)
	return s
}

// Fetch implements sampling.Share.
func (s *commonShare) Fetch(ctx context.Context, patience time.Duration) error {
	for began := time.Now(); time.Since(began) < patience; {
		s.mu.Lock()
		s.held = s.held || slices.ContainsFunc(s.shares, func(o *commonShare) bool { return o.held && !o.silent })
		held := s.held
		s.mu.Unlock()
		if held {
			return nil
		}
		if err := after(ctx, time.Second); err != nil {
			return err
		}
	}
	return fmt.Errorf("fetch: %w", sampling.ErrGone)
}

// Rivals implements sampling.Share.
func (s *commonShare) Rivals(context.Context) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	rivals := s.lies
	for _, o := range s.shares {
		if o != s && !o.held && !o.silent {
			rivals = append(rivals, o.id)
		}
	}
	return rivals
}

// Rebuild implements sampling.Share.
func (s *commonShare) Rebuild(ctx context.Context) error {
	if err := after(ctx, keepRebuild); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails {
		return errors.New("disk full")
	}
	s.held = true
	s.rebuilt++
	return nil
}

// keep has everybody keep the block, and returns how long that took, and how
// many failed.
func (c *commons) keep(t *testing.T, id erasure.ID) (took time.Duration, failed int) {
	began := time.Now()
	var all sync.WaitGroup
	var mu sync.Mutex // guards failed
	for _, s := range c.shares {
		if s.silent {
			continue
		}
		all.Go(func() {
			err := sampling.Custodian{ID: s.id, Patience: keepPatience, Slot: keepSlot}.Keep(t.Context(), id, s)
			if err != nil {
				mu.Lock()
				failed++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return time.Since(began), failed
}

// inTurn is the shares in the order in which they rebuild.
func (c *commons) inTurn(id erasure.ID) []*commonShare {
	var ids [][]byte
	for _, s := range c.shares {
		ids = append(ids, s.id)
	}
	sorted := slices.Clone(c.shares)
	slices.SortFunc(sorted, func(a, b *commonShare) int {
		return sampling.Turn(id, a.id, ids) - sampling.Turn(id, b.id, ids)
	})
	return sorted
}

func TestWhatSomebodyServesIsFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c commons
		for i := range 5 {
			c.add(fmt.Sprint(i)).held = i == 3
		}
		took, failed := c.keep(t, erasure.ID{1})
		if c.rebuilt != 0 || failed != 0 || took > time.Minute {
			t.Errorf("rebuilt %d times, %d failed, after %v", c.rebuilt, failed, took)
		}
	})
}

// When the last holder of a piece is gone, one of those who owe it rebuilds it,
// and the others fetch it there.
func TestOneCustodianRebuildsForAll(t *testing.T) {
	for seed := range 20 {
		synctest.Test(t, func(t *testing.T) {
			var c commons
			for i := range 12 {
				c.add(fmt.Sprint(seed, i))
			}
			gone := c.add("gone")
			gone.held, gone.silent = true, true
			took, failed := c.keep(t, erasure.ID{byte(seed)})
			if c.rebuilt != 1 || failed != 0 || took > keepPatience+keepRebuild+keepSlot {
				t.Errorf("rebuilt %d times, %d failed, after %v", c.rebuilt, failed, took)
			}
		})
	}
}

func TestTheNextRebuildsWhenTheFirstFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c commons
		for i := range 5 {
			c.add(fmt.Sprint(i))
		}
		id := erasure.ID{7}
		for _, s := range c.inTurn(id)[:2] {
			s.fails = true
		}
		took, failed := c.keep(t, id)
		if c.rebuilt != 1 || failed != 2 || took > keepPatience+2*keepSlot+2*keepRebuild {
			t.Errorf("rebuilt %d times, %d failed, after %v", c.rebuilt, failed, took)
		}
	})
}

// When the first eight fail, the others do not begin all at once.
func TestThoseBehindEightAreSpread(t *testing.T) {
	for seed := range 5 {
		synctest.Test(t, func(t *testing.T) {
			var c commons
			for i := range 62 {
				c.add(fmt.Sprint("many", seed, i))
			}
			id := erasure.ID{byte(seed)}
			for _, s := range c.inTurn(id)[:8] {
				s.fails = true
			}
			took, failed := c.keep(t, id)
			if c.rebuilt < 1 || c.rebuilt > 8 || failed != 8 || took > keepPatience+24*keepSlot+keepRebuild+time.Minute {
				t.Errorf("rebuilt %d times, %d failed, after %v", c.rebuilt, failed, took)
			}
		})
	}
}

// Peers that say that they would rebuild a piece, and do not, delay it by a
// bounded time.
func TestThoseWhoOnlySaySoDelayABounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c commons
		s := c.add("honest")
		for i := range 1000 {
			s.lies = append(s.lies, fmt.Append(nil, "liar", i))
		}
		took, failed := c.keep(t, erasure.ID{})
		if c.rebuilt != 1 || failed != 0 || took > keepPatience+24*keepSlot+keepRebuild+time.Minute {
			t.Errorf("rebuilt %d times, %d failed, after %v", c.rebuilt, failed, took)
		}
	})
}

func TestKeepingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c commons
		s := c.add("one")
		ctx, cancel := context.WithTimeout(t.Context(), keepPatience/2)
		defer cancel()
		err := sampling.Custodian{ID: s.id, Patience: keepPatience, Slot: keepSlot}.Keep(ctx, erasure.ID{}, s)
		if !errors.Is(err, context.DeadlineExceeded) || c.rebuilt != 0 {
			t.Errorf("%v, rebuilt %d times", err, c.rebuilt)
		}
	})
}

// Turns are an order of all, and another one for every block.
func TestTurnsAreAnOrderOfTheirOwnForEveryBlock(t *testing.T) {
	var ids [][]byte
	for i := range 30 {
		ids = append(ids, fmt.Append(nil, i))
	}
	first := make(map[string]bool)
	for block := range 100 {
		seen := make(map[int]bool)
		for _, self := range ids {
			turn := sampling.Turn(erasure.ID{byte(block)}, self, ids)
			seen[turn] = true
			if turn == 0 {
				first[string(self)] = true
			}
		}
		if len(seen) != len(ids) {
			t.Fatalf("block %d: %d different turns of %d", block, len(seen), len(ids))
		}
	}
	if len(first) < 20 {
		t.Errorf("%d of 30 come first in any of 100 blocks", len(first))
	}
	id := erasure.ID{31: 0x5a}
	if got := sampling.Turn(id, []byte("b"), [][]byte{[]byte("a"), []byte("c"), []byte("d")}); got != turnVector {
		t.Errorf("turn %d, want %d", got, turnVector)
	}
}

// turnVector was computed by another program from the specification.
const turnVector = 3
