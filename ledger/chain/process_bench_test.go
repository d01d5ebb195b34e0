package chain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"granary/ledger"
	"granary/ledger/chain"
)

// BenchmarkProcesses measures four validators, each a process of its own, through
// a full node in this one: what a transaction takes from Submit to its entry
// there, an announcement to its certificate, and how many transfers a second get
// in.
func BenchmarkProcesses(b *testing.B) {
	b.Run("transaction", func(b *testing.B) {
		p := benchProcesses(b)
		p.times(b, func(i int) {
			p.announce(len(p.cmds), fmt.Sprint("publisher ", i), 1, record(fmt.Sprint("bench ", i)))
		})
	})
	b.Run("certificate", func(b *testing.B) {
		p := benchProcesses(b)
		p.times(b, func(i int) { p.certify(fmt.Sprint("bench ", i)) })
	})
	b.Run("throughput", func(b *testing.B) {
		p := benchProcesses(b)
		const senders, each = 64, ledger.MaxWaiting
		for i := range senders {
			r := record(fmt.Sprint("allowance ", i))
			r.Info.Length = 1000
			p.announce(len(p.cmds), fmt.Sprint("sender ", i), 1, r)
		}
		full := p.nodes[len(p.cmds)]
		sent := uint64(0)
		start, size := time.Now(), p.head(len(p.cmds)).Size
		for b.Loop() {
			var all sync.WaitGroup
			for i := range senders {
				all.Go(func() {
					for k := uint64(0); k < each; {
						switch err := full.Submit(b.Context(), p.transfer(fmt.Sprint("sender ", i), 2+sent+k)); {
						case err == nil:
							k++
						case errors.Is(err, ledger.ErrWaiting), errors.Is(err, ledger.ErrNonce), errors.Is(err, chain.ErrBusy):
							time.Sleep(time.Millisecond) // the others do without us meanwhile
						default:
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			sent += each
		}
		u := p.until(len(p.cmds), size, "all transfers", func(u chain.Update) bool { return u.Head.Size >= size+senders*sent })
		b.ReportMetric(float64(u.Head.Size-size)/time.Since(start).Seconds(), "tx/s")
		b.ReportMetric(0, "ns/op")
		p.memory(b)
	})
}

// BenchmarkProcessesIdle measures what a validator costs while nothing happens but
// heartbeats: processor time, and memory beside that of a process of the same
// program without a chain.
func BenchmarkProcessesIdle(b *testing.B) {
	p := benchProcesses(b)
	for i := range 20 { // it is not quite new
		p.certify(fmt.Sprint("before ", i))
	}
	p.rest(b, 2*time.Second)
	const idle = 60 * time.Second
	var used time.Duration
	var heights int64
	for b.Loop() {
		before, from := p.processorTime(b), p.height(b)
		p.rest(b, idle)
		used += p.processorTime(b) - before
		heights += p.height(b) - from
	}
	b.ReportMetric(100*float64(used)/float64(len(p.cmds))/float64(idle)/float64(b.N), "%cpu")
	b.ReportMetric(float64(heights)/float64(b.N), "heights/min")
	b.ReportMetric(0, "ns/op")
	p.memory(b)
}

func benchProcesses(b *testing.B) *processes {
	b.Helper()
	if runtime.GOOS != "linux" {
		b.Skip("reads /proc")
	}
	p := newProcesses(b, 4, time.Minute)
	full := len(p.cmds)
	p.start(full)
	p.certify("first")
	return p
}

// times reports what an action takes that begins when the chain has come to rest.
func (p *processes) times(b *testing.B, action func(i int)) {
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		p.rest(b, time.Second)
		start := time.Now()
		action(i)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
	b.ReportMetric(0, "ns/op")
}

// rest lets some time pass.
func (p *processes) rest(b *testing.B, d time.Duration) {
	ctx, cancel := context.WithTimeout(b.Context(), d)
	defer cancel()
	_, _ = p.nodes[len(p.cmds)].Wait(ctx, 1<<40, 1<<40) // nothing comes that far
}

func (p *processes) height(b *testing.B) int64 {
	s, err := p.nodes[len(p.cmds)].Status()
	if err != nil {
		b.Fatal(err)
	}
	return s.Height
}

// processorTime is what all validators have used, at 100 ticks a second.
func (p *processes) processorTime(b *testing.B) (sum time.Duration) {
	for _, cmd := range p.cmds {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		if err != nil {
			b.Fatal(err)
		}
		fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
		for _, field := range fields[11:13] { // utime and stime, numbers 14 and 15
			ticks, err := strconv.Atoi(string(field))
			if err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum
}

// memory reports what a validator has resident, and how much more that is than
// the same program without a chain has.
func (p *processes) memory(b *testing.B) {
	var sum float64
	for _, cmd := range p.cmds {
		sum += resident(b, cmd.Process.Pid)
	}
	mean := sum / float64(len(p.cmds))
	p.kill(0)
	p.run(0, roleEnv+"=bystander")
	eventually(b, "a process without a chain", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.said["nothing"] > 0
	})
	b.ReportMetric(mean, "MiB")
	b.ReportMetric(mean-resident(b, p.cmds[0].Process.Pid), "MiB-more")
}

func resident(b *testing.B, pid int) (mib float64) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(raw) {
		var kib float64
		if n, _ := fmt.Sscanf(string(line), "VmRSS: %f kB", &kib); n == 1 {
			return kib / 1024
		}
	}
	b.Fatalf("no VmRSS of %d", pid)
	return 0
}
