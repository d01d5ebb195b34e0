package sampling_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"flag"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"granary/erasure"
	"granary/sampling"
)

var (
	scaleNodes   = flag.Int("scale.nodes", 1000, "custodians in the modelled network")
	scaleClients = flag.Int("scale.clients", 4, "light clients that test one block at once in it")
)

// What the model takes for granted: the links and distances of the simulated
// networks in sampling/kad.
const (
	modelUp   = 20_000_000 * 3 / 10 / 8 // bytes per second that a home has for samplers
	modelNear = 16 * time.Millisecond   // there and back
	modelFar  = 200 * time.Millisecond
	modelDial = 1500 * time.Millisecond // after which a dead one is given up
)

// model is a network of many custodians, of which nothing is real but who owes
// what and how the sampler goes about it: a row costs a dial, a round trip and
// its time on the holder's line.
type model struct {
	block  *block
	owing  [sampling.Groups][]int // nodes by group
	dead   func(node int) bool
	refuse func(node int) bool

	mu   sync.Mutex // guards what follows
	free []time.Time
	rows []int // served, by node
}

func newModel(b *block, nodes, custody int) *model {
	m := &model{block: b, free: make([]time.Time, nodes), rows: make([]int, nodes)}
	id := append([]byte{0, 0x24, 8, 1, 0x12, 0x20}, make([]byte, 32)...)
	for i := range nodes {
		binary.LittleEndian.PutUint64(id[6:], uint64(i))
		for g := range sampling.Custody("model", id, custody).All() {
			m.owing[g] = append(m.owing[g], i)
		}
	}
	never := func(int) bool { return false }
	m.dead, m.refuse = never, never
	return m
}

// modelClient is one light client's view of a model.
type modelClient struct {
	*model
	seed uint64
	cold bool

	mu     sync.Mutex // guards what follows
	looked map[int]chan struct{}
	dialed map[int]bool
	failed map[int]bool
}

func holderOf(node int) sampling.Holder {
	return sampling.Holder(binary.LittleEndian.AppendUint32(nil, uint32(node)))
}

func (c *modelClient) rtt(node int) time.Duration {
	random := rand.New(rand.NewPCG(c.seed, uint64(node)))
	return modelNear + time.Duration(random.Int64N(int64(modelFar-modelNear)))
}

// For names 24 of those that owe the piece. A cold client looks the group up
// first: each hop of a lookup halves the distance five times over, and costs a
// dial and a question.
func (c *modelClient) For(ctx context.Context, id erasure.ID, piece, _ int) []sampling.Holder {
	group := sampling.GroupOf(id, piece)
	random := rand.New(rand.NewPCG(c.seed, uint64(1<<40+group)))
	if c.cold {
		c.mu.Lock()
		done := c.looked[group]
		first := done == nil
		if first {
			done = make(chan struct{})
			c.looked[group] = done
		}
		c.mu.Unlock()
		if first {
			hops := max(1, math.Ceil(math.Log2(float64(len(c.free))/20)/5))
			for range int(hops) {
				wait := 4 * (modelNear + time.Duration(random.Int64N(int64(modelFar-modelNear))))
				// Two are asked at once; if both are dead, that is a dial lost.
				one, other := random.IntN(len(c.free)), random.IntN(len(c.free))
				if c.dead(one) && c.dead(other) {
					wait += modelDial
				}
				_ = after(ctx, wait)
			}
			close(done)
		}
		<-done
	}
	// As the table does: those that failed last, those that need no dial first.
	owing := slices.Clone(c.owing[group])
	random.Shuffle(len(owing), func(i, j int) { owing[i], owing[j] = owing[j], owing[i] })
	owing = owing[:min(len(owing), 128)]
	c.mu.Lock()
	rank := func(node int) int {
		switch {
		case c.failed[node]:
			return 2
		case c.dialed[node]:
			return 0
		}
		return 1
	}
	slices.SortStableFunc(owing, func(a, b int) int { return rank(a) - rank(b) })
	c.mu.Unlock()
	var all []sampling.Holder
	for _, node := range owing[:min(len(owing), 24)] {
		all = append(all, holderOf(node))
	}
	return all
}

// Row takes a dial unless one was made, a round trip, and the time on a line
// that the holder's other askers share.
func (c *modelClient) Row(ctx context.Context, h sampling.Holder, _ erasure.ID, row int) ([]byte, []erasure.Root, error) {
	node := int(binary.LittleEndian.Uint32([]byte(h)))
	if c.dead(node) {
		begun := time.Now()
		err := after(ctx, modelDial)
		if time.Since(begun) > time.Second { // as the hosts count it
			c.mu.Lock()
			c.failed[node] = true
			c.mu.Unlock()
		}
		if err != nil {
			return nil, nil, err
		}
		return nil, nil, errUnreachable
	}
	c.mu.Lock()
	wait := c.rtt(node)
	if !c.dialed[node] {
		wait *= 3 // QUIC, and what the peer speaks
		c.dialed[node] = true
	}
	c.mu.Unlock()
	if c.refuse(node) {
		if err := after(ctx, wait); err != nil {
			return nil, nil, err
		}
		return nil, nil, sampling.ErrNotHeld
	}
	size := time.Duration(c.block.rowBytes()) * time.Second / modelUp
	c.model.mu.Lock()
	now := time.Now()
	if c.free[node].Before(now) {
		c.free[node] = now
	}
	c.free[node] = c.free[node].Add(size)
	wait += c.free[node].Sub(now)
	c.rows[node]++
	c.model.mu.Unlock()
	if err := after(ctx, wait); err != nil {
		return nil, nil, err
	}
	return c.block.rows[row], c.block.paths[row], nil
}

// TestModelledNetworks lets the sampler as it is test a block in networks that
// are too large to simulate, by many clients at once.
func TestModelledNetworks(t *testing.T) {
	b := newBlock(t, 600, 1)
	part := func(percent int) func(int) bool {
		return func(node int) bool { return node*7919%100 < percent }
	}
	for _, c := range []struct {
		name   string
		cold   bool
		dead   int // percent
		refuse int // percent of all
		want   float64
	}{
		{"warm", false, 0, 0, 1},
		{"cold", true, 0, 0, 1},
		{"warm, half dead", false, 50, 0, 1},
		{"cold, half dead", true, 50, 0, 1},
		{"warm, 30 % dead and half of the others refusing", false, 30, 65, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(b, *scaleNodes, 4)
				m.dead = part(c.dead)
				m.refuse = func(node int) bool { return !m.dead(node) && part(c.refuse)(node) }
				took := make([]time.Duration, *scaleClients)
				var right int
				var mu sync.Mutex // guards right
				var all sync.WaitGroup
				for i := range *scaleClients {
					all.Go(func() {
						client := &modelClient{
							model: m, seed: uint64(i), cold: c.cold, looked: make(map[int]chan struct{}),
							dialed: make(map[int]bool), failed: make(map[int]bool),
						}
						s := sampling.New(client, client, sampling.Config{RetryRound: time.Second})
						v, err := s.Judge(t.Context(), fresh(b), nil)
						if !c.cold && err == nil { // warm is who has tested before
							v, err = s.Judge(t.Context(), fresh(b), nil)
						}
						if err != nil {
							t.Error(err)
						}
						took[i] = v.Took
						mu.Lock()
						defer mu.Unlock()
						if v.State == sampling.Available {
							right++
						}
					})
				}
				all.Wait()
				slices.SortFunc(took, cmp.Compare[time.Duration])
				n := len(took)
				t.Logf("%d nodes, %d clients at once: %d available, p50 %v, p99 %v; busiest holder gave %d rows",
					*scaleNodes, n, right, took[n/2].Round(time.Millisecond), took[n*99/100].Round(time.Millisecond), slices.Max(m.rows))
				if float64(right) < c.want*float64(n) {
					t.Errorf("%d of %d clients came to the right verdict", right, n)
				}
			})
		})
	}
}
