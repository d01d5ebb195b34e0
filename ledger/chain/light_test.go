package chain_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"granary/ledger"
	"granary/ledger/chain"
	"granary/ledger/light"
)

// local is a light.Transport to chains in this process.
type local map[string]*chain.Chain

func (l local) Call(ctx context.Context, peer, protocol string, req []byte) ([]byte, error) {
	c := l[peer]
	if c == nil {
		return nil, errors.New("no such peer")
	}
	if protocol == light.TxProtocol {
		return light.ServeTx(ctx, c, req), nil
	}
	return light.Serve(c, req), nil
}

// lightClient opens a light client whose providers are the running nodes.
func (n *network) lightClient(cfg light.Config) *light.Client {
	n.t.Helper()
	via := make(local)
	var peers []string
	for i, c := range n.nodes {
		if c != nil {
			via[fmt.Sprint(i)] = c
			peers = append(peers, fmt.Sprint(i))
		}
	}
	cfg.Genesis = n.genesis
	cl, err := light.Open(n.t.Context(), cfg, via)
	if err != nil {
		n.t.Fatal(err)
	}
	cl.SetPeers(peers)
	return cl
}

// look updates a light client. A slow machine may take long for a heartbeat.
func look(t testing.TB, cl *light.Client) light.Status {
	t.Helper()
	s, err := cl.Update(t.Context())
	if err != nil && !errors.Is(err, light.ErrStale) {
		t.Fatalf("update: %+v, %v", s, err)
	}
	return s
}

// TestLightClientOverTheChain publishes, watches and proves without a node.
func TestLightClientOverTheChain(t *testing.T) {
	t.Parallel() // most of it is waiting
	n := newNetwork(t, 4, 0, 2*time.Second)
	n.until(0, 0, "the first height", func(u chain.Update) bool { return u.Height > 0 })
	n.until(1, 0, "the first height", func(u chain.Update) bool { return u.Height > 0 })
	cl := n.lightClient(light.Config{Dir: t.TempDir()})
	look(t, cl)
	r := record("light")
	raw, err := ledger.SignAnnounce(n.genesis.ChainID, key("alice"), 1, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.Submit(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	index := n.announced(0, 0, r.ID())
	for v := range 3 {
		n.attest(v, v, 1, index, r.ID())
	}
	certified, _ := n.entry(0, index, ledger.EntryCertified)
	f, err := cl.Find(t.Context(), r.ID())
	for err == nil && f.Status == ledger.Pending { // some providers are a height behind
		_, _ = cl.Update(t.Context())
		f, err = cl.Find(t.Context(), r.ID())
	}
	if err != nil || f.Index != index || f.OutcomeIndex != certified || f.Outcome.Outcome.Power != 3 {
		t.Errorf("found %+v, %v", f, err)
	}

	// A newcomer with a checkpoint from that client, and gossip that it judges.
	point, _ := cl.Checkpoint()
	newcomer := n.lightClient(light.Config{Checkpoint: &point})
	if s := look(t, newcomer); s.Height < point.Height {
		t.Errorf("from a checkpoint: %+v", s)
	}
	_, height := newcomer.Head()
	n.until(2, 0, "a heartbeat", func(u chain.Update) bool { return u.Height > height })
	heard, err := n.nodes[2].LightBlock(0)
	if err != nil {
		t.Fatal(err)
	}
	if newer, err := newcomer.Offer(t.Context(), heard); !newer || err != nil {
		t.Errorf("offered the next height: %v, %v", newer, err)
	}

	// Nobody moves on: the head becomes stale, and both say so.
	n.stop(3)
	n.stop(2)
	late := n.lightClient(light.Config{
		Checkpoint: &point,
		Now:        func() time.Time { return time.Now().Add(3 * n.genesis.Params.Heartbeat) },
	})
	if s, err := late.Update(t.Context()); !errors.Is(err, light.ErrStale) || s.State != light.Stale {
		t.Errorf("without news: %+v, %v", s, err)
	}
}

// BenchmarkCommit measures what a transaction takes from Submit to its entry, and
// an announcement to its certificate when all validators attest at once.
func BenchmarkCommit(b *testing.B) {
	for _, what := range []string{"transaction", "certificate"} {
		b.Run(what, func(b *testing.B) {
			n := newNetwork(b, 4, 0, time.Minute)
			n.until(0, 0, "the first height", func(u chain.Update) bool { return u.Height >= 1 })
			var took []time.Duration
			nonce := 0
			for b.Loop() {
				nonce++
				// The chain rests between two: a block is followed by that of its head.
				status, err := n.nodes[0].Status()
				if err != nil {
					b.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(b.Context(), time.Second)
				_, _ = n.nodes[0].Wait(ctx, status.Height+10, 1<<40)
				cancel()

				r := record(fmt.Sprint("bench ", nonce))
				start := time.Now()
				index := n.announce(nonce%4, fmt.Sprint("publisher ", nonce), 1, r)
				if what == "certificate" {
					done := make(chan struct{})
					for v := range 4 {
						go func() {
							defer func() { done <- struct{}{} }()
							n.announced(v, index, r.ID())
							_ = n.nodes[v].Attest(b.Context(), attestKey(v), []ledger.Attestation{{Index: index, ID: r.ID()}})
						}()
					}
					n.entry(nonce%4, index, ledger.EntryCertified)
					took = append(took, time.Since(start))
					for range 4 {
						<-done
					}
				} else {
					took = append(took, time.Since(start))
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
			b.ReportMetric(float64(took[len(took)*9/10].Milliseconds()), "p90-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkIdle measures what four validators cost in one process when nothing
// happens but heartbeats.
func BenchmarkIdle(b *testing.B) {
	for _, heartbeat := range []time.Duration{2 * time.Second, time.Minute} {
		b.Run(heartbeat.String(), func(b *testing.B) {
			n := newNetwork(b, 4, 0, heartbeat)
			first := n.until(0, 0, "the first height", func(u chain.Update) bool { return u.Height >= 1 })
			const idle = 10 * time.Second
			ctx, cancel := context.WithTimeout(b.Context(), time.Second) // the start is over
			_, _ = n.nodes[0].Wait(ctx, 1<<40, 1<<40)
			cancel()
			var cpu time.Duration
			rounds := 0
			for b.Loop() {
				rounds++
				before := processorTime(b)
				ctx, cancel := context.WithTimeout(b.Context(), idle)
				_, _ = n.nodes[0].Wait(ctx, 1<<40, 1<<40)
				cancel()
				cpu += processorTime(b) - before
			}
			status, err := n.nodes[0].Status()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(100*float64(cpu)/float64(idle)/float64(rounds), "%cpu")
			b.ReportMetric(float64(status.Height-first.Height), "heights")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// processorTime is what this process has used, of all processors together.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
