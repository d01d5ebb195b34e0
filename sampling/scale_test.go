package sampling_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"flag"
	"maps"
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
	modelDial = 1500 * time.Millisecond // after which a dead holder is given up
	modelSkip = 800 * time.Millisecond  // and a dead server of a lookup

	modelLookups = 8  // of a client at once
	modelAsked   = 5  // servers, of a lookup at once
	modelServers = 20 // that have the records of a key
	modelNamed   = 32 // custodians in an answer
	modelEnough  = 8  // known ones of a group: no lookup is waited for
)

// model is a network of many custodians, of which nothing is real but who owes
// what and how the sampler goes about it: a row costs a dial, a round trip and
// its time on the holder's line.
type model struct {
	block  *block
	owing  [sampling.Groups][]int // nodes by group
	groups []sampling.GroupSet    // by node
	dead   func(node int) bool
	refuse func(node int) bool

	mu   sync.Mutex // guards what follows
	free []time.Time
	rows []int // served, by node
}

func newModel(b *block, nodes, custody int) *model {
	m := &model{block: b, groups: make([]sampling.GroupSet, nodes), free: make([]time.Time, nodes), rows: make([]int, nodes)}
	id := append([]byte{0, 0x24, 8, 1, 0x12, 0x20}, make([]byte, 32)...)
	for i := range nodes {
		binary.LittleEndian.PutUint64(id[6:], uint64(i))
		m.groups[i] = sampling.Custody("model", id, custody)
		for g := range m.groups[i].All() {
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

	slots chan struct{} // one for each lookup at once

	mu     sync.Mutex // guards what follows
	joins  time.Time  // when the first peer is there
	named  [sampling.Groups]map[int]bool
	looked map[int]chan struct{} // lookups by group, closed when they end
	silent map[int]bool          // servers that lookups found dead
	dialed map[int]bool
	failed map[int]bool
}

func newModelClient(m *model, seed uint64, cold bool) *modelClient {
	c := &modelClient{
		model: m, seed: seed, cold: cold, slots: make(chan struct{}, modelLookups), looked: make(map[int]chan struct{}),
		silent: make(map[int]bool), dialed: make(map[int]bool), failed: make(map[int]bool),
	}
	for g := range c.named {
		c.named[g] = make(map[int]bool)
	}
	return c
}

func holderOf(node int) sampling.Holder {
	return sampling.Holder(binary.LittleEndian.AppendUint32(nil, uint32(node)))
}

func (c *modelClient) rtt(node int) time.Duration {
	random := rand.New(rand.NewPCG(c.seed, uint64(node)))
	return modelNear + time.Duration(random.Int64N(int64(modelFar-modelNear)))
}

// For names 24 of those that owe the piece, and that the client knows: a warm one
// knows all.
func (c *modelClient) For(ctx context.Context, id erasure.ID, piece, _ int) []sampling.Holder {
	group := sampling.GroupOf(id, piece)
	random := rand.New(rand.NewPCG(c.seed, uint64(1<<40+group)))
	owing := slices.Clone(c.owing[group])
	if c.cold {
		owing = c.lookUp(ctx, group)
	}
	// As the table does: those that failed last, those that need no dial first.
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

// lookUp returns those of a group that the client's lookups named, once they are
// enough, or the group's own lookup has ended or taken a second.
func (c *modelClient) lookUp(ctx context.Context, group int) []int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	if len(c.looked) == 0 {
		c.joins = time.Now().Add(2 * c.rtt(len(c.free))) // to a peer that is no custodian
	}
	done := c.looked[group]
	if done == nil {
		done = make(chan struct{})
		c.looked[group] = done
		go func() {
			defer close(done)
			select {
			case c.slots <- struct{}{}:
				defer func() { <-c.slots }()
				c.ask(ctx, group)
			case <-ctx.Done():
			}
		}()
	}
	c.mu.Unlock()
	for begun := time.Now(); ; {
		c.mu.Lock()
		known := slices.Sorted(maps.Keys(c.named[group]))
		c.mu.Unlock()
		if len(known) >= modelEnough || len(known) > 0 && time.Since(begun) >= time.Second {
			return known
		}
		select {
		case <-done:
			return known
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// ask is a lookup, once the client has joined: the hops on the way, each of which ends with the first answer and
// leaves a 32nd of the way, and then the servers of the key.
func (c *modelClient) ask(ctx context.Context, group int) {
	if after(ctx, time.Until(c.joins)) != nil {
		return
	}
	way := rand.New(rand.NewPCG(c.seed, uint64(1<<41+group)))
	for range int(math.Round(math.Log2(float64(len(c.free))/modelServers) / 5)) {
		wait := modelSkip
		for range modelAsked {
			if node := way.IntN(len(c.free)); !c.dead(node) {
				wait = min(wait, 2*c.rtt(node))
			}
		}
		if after(ctx, wait) != nil {
			return
		}
	}
	key := rand.New(rand.NewPCG(0, uint64(group))) // the same servers for all
	servers := make(chan int, modelServers)
	for range modelServers {
		servers <- key.IntN(len(c.free))
	}
	close(servers)
	var asked sync.WaitGroup
	for range modelAsked {
		asked.Go(func() {
			for node := range servers {
				c.askServer(ctx, node, group)
			}
		})
	}
	asked.Wait()
}

// askServer asks one, who names some custodians: these stand under other groups too.
func (c *modelClient) askServer(ctx context.Context, node, group int) {
	c.mu.Lock()
	silent := c.silent[node]
	c.mu.Unlock()
	if silent {
		return
	}
	if c.dead(node) {
		if after(ctx, modelSkip) == nil {
			c.mu.Lock()
			c.silent[node] = true
			c.mu.Unlock()
		}
		return
	}
	if after(ctx, 2*c.rtt(node)) != nil {
		return
	}
	random := rand.New(rand.NewPCG(uint64(node), uint64(group)))
	all := c.owing[group]
	c.mu.Lock()
	defer c.mu.Unlock()
	for range min(modelNamed, len(all)) {
		holder := all[random.IntN(len(all))]
		for g := range c.groups[holder].All() {
			c.named[g][holder] = true
		}
	}
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
		wait *= 2 // QUIC
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
						client := newModelClient(m, uint64(i), c.cold)
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
