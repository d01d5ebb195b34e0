package kad_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-msgio"
	"google.golang.org/protobuf/proto"

	"granary/erasure"
	"granary/sampling"
	"granary/sampling/kad"
)

// How much is simulated: docs/scale.md has what more of it gives.
var (
	simHosts = flag.Int("sim.hosts", 16, "custodians in simulated networks")
	simTests = flag.Int("sim.tests", 1, "light clients in each of them")
	simPause = flag.Duration("sim.pause", 5*time.Second, "from a cold test to a warm one: joining goes on meanwhile")
	simRows  = flag.Int("sim.rows", 90, "content rows of the block that is tested")
)

// scenario is a network with a fault, and what light clients may say in it.
type scenario struct {
	name  string
	fault func(w *world)
	want  []sampling.State // of a cold test
	right []sampling.State // what a share of all tests is to say, where want is more; nil: want
	warm  []sampling.State // of a test by somebody who has made one before; nil: none is made
	once  bool             // all clients join at once
	asks  bool             // clients ask holders what block it is, too
	hosts int              // unless told otherwise; 0: sim.hosts
}

var (
	available   = []sampling.State{sampling.Available}
	unavailable = []sampling.State{sampling.Unavailable}
	withheld    = []sampling.State{sampling.Unavailable, sampling.Inconclusive}
	anything    = []sampling.State{sampling.Available, sampling.Unavailable, sampling.Inconclusive}
)

// part calls f for the given part of the hosts.
func (w *world) part(from, to float64, f func(h *simHost)) {
	n := float64(len(w.hosts))
	for _, h := range w.hosts[int(from*n):int(to*n)] {
		f(h)
	}
}

func kill(h *simHost) { h.dead.Store(true) }

// refuse makes a host hold nothing.
func refuse(h *simHost) {
	h.serve = func(erasure.ID, int) ([]byte, []erasure.Root, error) { return nil, nil, kad.ErrNotHeld }
}

// target is the block that scenarios withhold; the other is the control.
func (w *world) target() erasure.ID { return w.blocks[0].bundle.Info.ID() }

// scenarios are those of docs/scale.md. Hosts are numbered at random, so the
// first of them are as good as any.
var scenarios = []scenario{
	{name: "healthy", hosts: 100, want: available, warm: available},
	{name: "half of the hosts silently dead", want: available, warm: available, fault: func(w *world) {
		w.part(0, 0.5, kill)
	}},
	{name: "30 % dead, half of the others refusing", want: anything, warm: anything, right: available, fault: func(w *world) {
		w.part(0, 0.3, kill)
		w.part(0.3, 0.65, refuse)
	}},
	{name: "a third lies about rows", want: available, fault: func(w *world) { w.part(0, 0.33, lieAboutRows) }},
	{name: "a third lies about paths", want: available, fault: func(w *world) { w.part(0, 0.33, lieAboutPaths) }},
	{name: "two of three rows withheld by all", hosts: 4, want: unavailable, fault: func(w *world) { w.part(0, 1, w.withhold) }},
	{name: "the seeder vanished after announcing", hosts: 4, want: withheld, fault: func(w *world) {
		w.part(0, 1, func(h *simHost) {
			h.serve = func(id erasure.ID, row int) ([]byte, []erasure.Root, error) {
				if id == w.target() {
					return nil, nil, kad.ErrPending
				}
				return h.honest(id, row)
			}
		})
	}},
	{name: "most DHT servers name only each other, and withhold", want: anything, right: available, fault: func(w *world) { w.eclipse(0.6) }},
	{name: "all clients at once", want: available, once: true},
}

// eclipse makes a part of the hosts answer every request of the DHT with one
// another, and refuse the target.
func (w *world) eclipse(part float64) {
	var hostile []peer.AddrInfo
	w.part(0, part, func(h *simHost) { hostile = append(hostile, h.Info()) })
	w.part(0, part, func(h *simHost) {
		h.hostile = true
		h.serve = func(id erasure.ID, row int) ([]byte, []erasure.Root, error) {
			if id == w.target() {
				return nil, nil, kad.ErrNotHeld
			}
			return h.honest(id, row)
		}
		h.ServeDHT(func(s network.Stream) { lead(s, hostile) })
	})
}

// lead answers requests of the DHT with these peers, whatever was asked.
func lead(s network.Stream, to []peer.AddrInfo) {
	defer s.Close()
	r := msgio.NewVarintReaderSize(s, network.MessageSizeMax)
	w := msgio.NewVarintWriter(s)
	for {
		raw, err := r.ReadMsg()
		if err != nil {
			return
		}
		var m pb.Message
		if proto.Unmarshal(raw, &m) != nil {
			return
		}
		reply := pb.NewMessage(m.GetType(), m.GetKey(), 0)
		reply.CloserPeers = pb.RawPeerInfosToPBPeers(to[:min(len(to), 20)])
		reply.ProviderPeers = reply.CloserPeers
		if raw, err = proto.Marshal(reply); err != nil || w.WriteMsg(raw) != nil {
			return
		}
	}
}

// TestSimulatedNetworks runs the sampler, the hosts and the DHT as they are, on
// links in virtual time, with most that can go wrong.
func TestSimulatedNetworks(t *testing.T) {
	blocks := simBlocks(t)
	for _, sc := range slices.Concat(scenarios, conspiracies) {
		t.Run(sc.name, func(t *testing.T) {
			hosts := *simHosts
			if sc.hosts > 0 && !set("sim.hosts") {
				hosts = sc.hosts
			}
			custody := min(sampling.Groups, max(4, 16*sampling.Groups/hosts))
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, hosts, custody, 1, blocks...)
				defer w.close()
				if sc.fault != nil {
					sc.fault(w)
				}
				cold, warm := w.run(sc)
				check(t, "cold", cold, sc.want)
				if sc.warm != nil {
					check(t, "warm", warm, sc.warm)
				}
			})
		})
	}
}

// set reports whether a flag was given.
func set(name string) (given bool) {
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	return given
}

// simBlocks are two blocks, the first to be tested.
func simBlocks(t *testing.T) []*block {
	m := new(memory)
	m.add(t, content(*simRows*erasure.RowSize))
	m.add(t, content(80*erasure.RowSize))
	blocks := m.all()
	slices.SortFunc(blocks, func(a, b *block) int { return len(b.rows) - len(a.rows) })
	return blocks
}

// run has light clients test the target, and once more.
func (w *world) run(sc scenario) (cold, warm []outcome) {
	var mu sync.Mutex // guards cold and warm
	one := func(i int) {
		c := w.join(i)
		defer func() { _ = c.Close() }()
		target := w.blocks[0]
		if sc.asks {
			target = &block{bundle: c.describe(w.target())}
		}
		first := c.judge(target, w.blocks[1])
		var second outcome
		if sc.warm != nil {
			time.Sleep(*simPause)
			second = c.judge(w.blocks[0], w.blocks[1])
		}
		mu.Lock()
		defer mu.Unlock()
		cold, warm = append(cold, first), append(warm, second)
	}
	var all sync.WaitGroup
	for i := range *simTests {
		if sc.once {
			all.Go(func() { one(i) })
		} else {
			one(i)
		}
	}
	all.Wait()
	return cold, warm
}

// describe returns the first description of a block that holders give and that
// is accepted, which must be the right one.
func (c client) describe(id erasure.ID) erasure.Bundle {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	want := c.world.find(id).bundle
	for holder := range c.FindHolders(ctx, id) {
		if b, err := c.Host.Bundle(ctx, holder.Peer, id); err == nil {
			if !slices.Equal(b.Proof, want.Proof) {
				c.world.t.Error("a wrong proof vector was believed")
			}
			return b
		}
	}
	c.world.t.Error("nobody gave a description that is accepted")
	return want
}

func check(t *testing.T, name string, all []outcome, want []sampling.State) {
	t.Helper()
	for _, o := range all {
		if !slices.Contains(want, o.State) {
			t.Errorf("%s: %v, want %v: causes %v, %d holders", name, o.Verdict, want, causes(o.Verdict), o.Holders)
		}
	}
	t.Logf("%s: %s", name, figures(all))
}

func causes(v sampling.Verdict) map[sampling.Cause]int {
	n := make(map[sampling.Cause]int)
	for _, c := range v.Causes {
		n[c]++
	}
	return n
}

// A new block costs no operation of the DHT: who has tested one before asks
// the holders that it remembers.
func TestWarmTestMakesNoLookup(t *testing.T) {
	blocks := simBlocks(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 8, sampling.Groups, 1, blocks...)
		defer w.close()
		c := w.join(0)
		defer func() { _ = c.Close() }()
		check(t, "cold", []outcome{c.judge(blocks[0], blocks[1])}, available)
		time.Sleep(10 * time.Second) // those that it has just met are looked at
		var lookups atomic.Int64
		for _, h := range w.hosts {
			h.CountDHT(c.ID(), &lookups)
		}
		warm := c.judge(blocks[1], blocks[0])
		check(t, "warm", []outcome{warm}, available)
		if n := lookups.Load(); n != 0 {
			t.Errorf("%d requests of the DHT for a new block", n)
		}
		if limit := warm.Bytes * 12 / 10; warm.in > limit {
			t.Errorf("%d bytes for %d of rows and paths", warm.in, warm.Bytes)
		}
	})
}

// A publisher that serves only the first askers fools them, and nobody after
// them.
func TestSelectiveDisclosureFoolsOnlyTheFirst(t *testing.T) {
	blocks := simBlocks(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5, sampling.Groups, 1, blocks...)
		defer w.close()
		var served atomic.Int64
		w.part(0, 1, func(h *simHost) {
			h.serve = func(id erasure.ID, row int) ([]byte, []erasure.Root, error) {
				if id == w.target() && served.Add(1) > 50 {
					return nil, nil, kad.ErrNotHeld
				}
				return h.honest(id, row)
			}
		})
		var said []sampling.State
		for i := range 2 {
			c := w.join(i)
			said = append(said, c.judge(blocks[0], blocks[1]).State)
			_ = c.Close()
		}
		if !slices.Equal(said, []sampling.State{sampling.Available, sampling.Unavailable}) {
			t.Errorf("clients said %v", said)
		}
	})
}

// Who is cut off never blames the block, however much it knew before.
func TestOfflineIsInconclusive(t *testing.T) {
	blocks := simBlocks(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 8, sampling.Groups, 1, blocks...)
		defer w.close()
		known, never := w.join(0), w.join(1)
		defer func() { _, _ = known.Close(), never.Close() }()
		never.dead.Store(true)
		check(t, "cold", []outcome{known.judge(blocks[0], blocks[1])}, available)
		known.dead.Store(true)
		check(t, "cut off", []outcome{known.judge(blocks[0], blocks[1]), never.judge(blocks[0], blocks[1])},
			[]sampling.State{sampling.Inconclusive})
	})
}

// A description is believed only if it is that of the ID, whoever sends it.
func TestLyingDescriptionsAreRefused(t *testing.T) {
	blocks := simBlocks(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 8, sampling.Groups, 1, blocks...)
		defer w.close()
		w.part(0, 0.5, func(h *simHost) { h.lie = true })
		c := w.join(0)
		defer func() { _ = c.Close() }()
		good, refused := 0, 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for holder := range c.FindHolders(ctx, w.target()) {
			if b, err := c.Host.Bundle(ctx, holder.Peer, w.target()); err != nil {
				refused++
			} else if good++; !slices.Equal(b.Proof, blocks[0].bundle.Proof) {
				t.Error("a wrong proof vector was believed")
			}
		}
		if good != 4 || refused != 4 {
			t.Errorf("%d descriptions believed, %d refused; want 4 of each", good, refused)
		}
	})
}

// Two addresses that ask every holder for rows as fast as they can make the
// slowest of an honest client's 20 tests, the 99th percentile of so few, take at
// most three times as long.
func TestAFloodKeepsNobodyFromSampling(t *testing.T) {
	if !set("sim.hosts") {
		t.Skip("takes a minute when raced: go test ./sampling/kad -run Flood -sim.hosts 8")
	}
	blocks := simBlocks(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, *simHosts, sampling.Groups, 1, blocks...)
		defer w.close()
		honest := w.join(0)
		defer func() { _ = honest.Close() }()
		check(t, "cold", []outcome{honest.judge(blocks[0], blocks[1])}, available)
		tests := func(name string) time.Duration {
			var all []outcome
			for range 20 {
				all = append(all, honest.judge(blocks[0], blocks[1]))
			}
			check(t, name, all, available)
			return slices.MaxFunc(all, func(a, b outcome) int { return cmp.Compare(a.Took, b.Took) }).Took
		}
		calm := tests("calm")

		ctx, stop := context.WithCancel(t.Context())
		var flood sync.WaitGroup
		var asked, busy atomic.Int64
		for i := range 2 {
			attacker := w.join(1 + i)
			defer func() { _ = attacker.Close() }()
			for _, h := range w.hosts {
				attacker.Converge([]peer.AddrInfo{h.Info()}, nil)
				for range 16 {
					flood.Go(func() {
						for ctx.Err() == nil {
							_, _, err := attacker.Host.Row(ctx, h.ID(), w.target(), 0)
							if asked.Add(1); errors.Is(err, kad.ErrBusy) {
								busy.Add(1)
							}
						}
					})
				}
			}
		}
		time.Sleep(20 * time.Second) // until their buckets are empty
		flooded := tests("flooded")
		stop()
		flood.Wait()
		if flooded > 3*calm {
			t.Errorf("a test took %v, %v with nobody else", flooded, calm)
		}
		if busy.Load() == 0 {
			t.Errorf("nobody was told busy in %d requests", asked.Load())
		}
		t.Logf("%d requests, %d told busy", asked.Load(), busy.Load())
	})
}

// Answers of the DHT are short however many stand under a key, and a lookup
// finds many of them all the same.
func TestALookupFindsManyOfACrowd(t *testing.T) {
	const crowd, group = 400, 7
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 8, sampling.Groups, 1)
		defer w.close()
		var many []peer.AddrInfo
		for i := range crowd {
			many = append(many, w.stranger(i))
		}
		for _, h := range w.hosts {
			h.Converge(nil, map[int][]peer.AddrInfo{group: many})
		}
		c := w.join(0)
		defer func() { _ = c.Close() }()
		before := c.in.Load()
		found, err := c.Custodians(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// Of 8 answers with 32 of 400 each, 200 are to be expected.
		if len(found) < 120 {
			t.Errorf("%d of %d found", len(found), crowd)
		}
		t.Logf("%d of %d found, %d KiB in", len(found), crowd, (c.in.Load()-before)>>10)
	})
}

// In a small network no group has as many custodians as a lookup looks for; a cold
// test must not wait for the end of each.
func TestASmallNetworkIsTestedInTime(t *testing.T) {
	blocks := simBlocks(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 12, 36, 1, blocks...)
		defer w.close()
		w.part(0, 0.25, kill)
		c := w.join(0)
		defer func() { _ = c.Close() }()
		o := c.judge(blocks[0], blocks[1])
		check(t, "cold", []outcome{o}, available)
		t.Logf("%v, %d of %d rows", o.Took, o.Verified, o.Rows)
		if most := 3 * time.Second; o.Took > most {
			t.Errorf("a cold test took %v of virtual time, want at most %v", o.Took, most)
		}
	})
}
