package kad_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/erasure"
	"granary/sampling"
	"granary/sampling/kad"
)

const (
	meshDegree  = 5                // connections that every host of a mesh makes
	meshSettle  = 20 * time.Second // heartbeats of gossip come every second
	announceMax = time.Second      // the goal
)

// TestAnAnnouncementReachesAllReachable has hosts gossip as they do, each
// connected to a few others, a tenth of them dead: how long an announcement
// takes to all that live.
func TestAnAnnouncementReachesAllReachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, *simHosts, sampling.Groups, 1)
		defer w.close()
		var mu sync.Mutex // guards heard
		heard := make(map[peer.ID]time.Time)
		for _, h := range w.hosts {
			accept := func([]byte) kad.Judgement { return kad.Accept }
			if err := h.OnAnnounce(accept, func(peer.ID, []byte) {
				mu.Lock()
				defer mu.Unlock()
				heard[h.ID()] = time.Now()
			}); err != nil {
				t.Fatal(err)
			}
		}
		w.mesh()
		w.part(0, 0.1, kill)
		before := w.sent()
		began := time.Now()
		last := w.hosts[len(w.hosts)-1]
		if err := last.Announce(t.Context(), make([]byte, 2<<10)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		cost := w.sent() - before
		mu.Lock()
		defer mu.Unlock()
		var took []time.Duration
		for _, h := range w.hosts {
			at, ok := heard[h.ID()]
			switch {
			case ok:
				took = append(took, at.Sub(began))
			case h != last && !h.dead.Load():
				t.Errorf("%s, which lives, has heard nothing", h.ID())
			}
		}
		slices.SortFunc(took, cmp.Compare[time.Duration])
		n := len(took)
		t.Logf("%d hosts, a tenth dead: %d heard it, p50 %v, p99 %v, last %v; %d KiB each in 10 s",
			len(w.hosts), n, took[n/2], took[n*99/100], took[n-1], cost>>10/int64(len(w.hosts)))
		if took[n-1] > announceMax {
			t.Errorf("the last heard it after %v, want %v", took[n-1], announceMax)
		}
	})
}

// mesh connects every host to a few others, and waits until gossip has settled.
func (w *world) mesh() {
	random := rand.New(rand.NewPCG(w.seed, 77))
	var dialling sync.WaitGroup
	for _, h := range w.hosts {
		for _, j := range random.Perm(len(w.hosts))[:min(meshDegree, len(w.hosts))] {
			if to := w.hosts[j]; to != h {
				dialling.Go(func() {
					h.Know(to.Info())
					_, _ = h.Hello(context.Background(), to.ID(), erasure.ID{})
				})
			}
		}
	}
	dialling.Wait()
	time.Sleep(meshSettle)
}

// sent is how many bytes all hosts have sent.
func (w *world) sent() int64 {
	var n int64
	for _, h := range w.hosts {
		n += h.out.Load()
	}
	return n
}
