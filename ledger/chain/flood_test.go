package chain_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"granary/ledger"
	"granary/ledger/chain"
)

// TestFloodOfOneSenderLeavesRoomForOthers has one key hand over as many transfers
// as nonces allow: most are refused, and what another key sends afterwards is in
// the log with the next heights, before the flood could be served in full.
func TestFloodOfOneSenderLeavesRoomForOthers(t *testing.T) {
	n := newNetwork(t, 1, 0, time.Second)
	n.until(0, 0, "the first height", func(u chain.Update) bool { return u.Height >= 1 })
	n.announce(0, "flooder", 1, record("for an allowance"))
	waiting, refused := 0, 0
	for nonce := range uint64(ledger.NonceWindow) {
		switch err := n.nodes[0].Submit(t.Context(), n.transfer("flooder", nonce+2)); {
		case err == nil:
			waiting++
		case errors.Is(err, ledger.ErrWaiting), errors.Is(err, ledger.ErrNonce): // a height may have come meanwhile
			refused++
		default:
			t.Fatal(err)
		}
	}
	if waiting+refused != ledger.NonceWindow {
		t.Errorf("%d wait, %d are refused", waiting, refused)
	}
	n.announce(0, "somebody else", 1, record("after the flood"))
}

// transfer signs a transfer of one credit to nobody.
func (n *network) transfer(who string, nonce uint64) []byte {
	n.t.Helper()
	raw, err := ledger.Sign(n.genesis.ChainID, key("%s", who), nonce, ledger.Tx{
		Kind: ledger.KindTransfer, Transfer: ledger.Transfer{To: ledger.PublicKey{1}, Credits: 1},
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return raw
}

// BenchmarkFlood measures what others' transactions take from Submit to their
// entry while one sender sends as many as it can: none, good ones, bad ones.
func BenchmarkFlood(b *testing.B) {
	for _, what := range []string{"none", "good", "bad"} {
		b.Run(what, func(b *testing.B) {
			n := newNetwork(b, 4, 0, time.Minute)
			n.until(0, 0, "the first height", func(u chain.Update) bool { return u.Height >= 1 })
			n.announce(0, "flooder", 1, record("for an allowance"))
			ctx, cancel := context.WithCancel(b.Context())
			var flood sync.WaitGroup
			sent := 0
			flood.Go(func() {
				for nonce := uint64(2); what != "none" && ctx.Err() == nil; {
					raw := n.transfer("flooder", nonce)
					if what == "bad" {
						raw[len(raw)-1] ^= 1
					}
					if err := n.nodes[0].Submit(ctx, raw); err == nil {
						nonce++
						sent++
					}
				}
			})
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				start := time.Now()
				n.announce(1+i%3, fmt.Sprint("publisher ", i), 1, record(fmt.Sprint("bench ", i)))
				took = append(took, time.Since(start))
			}
			cancel()
			flood.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
			b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "flood/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkThroughput measures how many transfers a second four validators take
// from so many senders that none has to wait for its own.
func BenchmarkThroughput(b *testing.B) {
	n := newNetwork(b, 4, 0, time.Minute)
	n.until(0, 0, "the first height", func(u chain.Update) bool { return u.Height >= 1 })
	const senders = 64
	for i := range senders {
		r := record(fmt.Sprint("allowance ", i))
		r.Info.Length = 1000 // 64 of them may pend
		n.announce(0, fmt.Sprint("sender ", i), 1, r)
	}
	const each = 16 // per round; as many as may wait
	sent := uint64(0)
	for b.Loop() {
		from := n.head(0).Size
		var all sync.WaitGroup
		for i := range senders {
			all.Go(func() {
				for k := uint64(0); k < each; {
					err := n.nodes[i%4].Submit(b.Context(), n.transfer(fmt.Sprint("sender ", i), 2+sent+k))
					if err == nil {
						k++
					} else if !errors.Is(err, ledger.ErrWaiting) && !errors.Is(err, ledger.ErrNonce) {
						b.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		sent += each
		n.until(0, from, "all transfers", func(u chain.Update) bool { return u.Head.Size >= from+senders*each })
	}
	b.ReportMetric(senders*float64(sent)/b.Elapsed().Seconds(), "tx/s")
	b.ReportMetric(0, "ns/op")
}
