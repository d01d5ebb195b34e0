package swarm_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"granary/erasure"
	"granary/swarm"
)

// measured reports whether tests that take long, or need a quiet machine, are
// wanted: they measure instead of bounding.
func measured() bool { return os.Getenv("GRANARY_SWARM_MEASURE") != "" }

// wire stands between two swarms and counts what passes, as a router would.
type wire struct {
	addr, to      netip.AddrPort
	forward, back atomic.Int64 // bytes from those who dial the wire, and to them
	listener      net.Listener
	ctx           context.Context
	running       sync.WaitGroup
}

func newWire(t testing.TB, to netip.AddrPort) *wire {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(newIP().String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{addr: l.Addr().(*net.TCPAddr).AddrPort(), to: to, listener: l, ctx: t.Context()}
	w.running.Go(w.accept)
	t.Cleanup(func() {
		_ = l.Close()
		w.running.Wait()
	})
	return w
}

func (w *wire) accept() {
	for {
		in, err := w.listener.Accept()
		if err != nil {
			return
		}
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: w.addr.Addr().AsSlice()}}
		out, err := d.DialContext(w.ctx, "tcp", w.to.String())
		if err != nil {
			_ = in.Close()
			continue
		}
		stop := context.AfterFunc(w.ctx, func() { _, _ = in.Close(), out.Close() })
		w.running.Go(func() {
			defer stop()
			var both sync.WaitGroup
			both.Go(func() { pump(out, in, &w.forward) })
			both.Go(func() { pump(in, out, &w.back) })
			both.Wait()
		})
	}
}

// pump counts bytes once the other end's system has room for them.
func pump(to, from net.Conn, count *atomic.Int64) {
	_ = to.(*net.TCPConn).SetWriteBuffer(16 << 10)
	buf := make([]byte, 8<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
			count.Add(int64(n))
		}
		if err != nil {
			_, _ = to.Close(), from.Close()
			return
		}
	}
}

func TestRatesHoldOnTheWire(t *testing.T) {
	const rate = 1 << 20
	rows := 80 // 1.25 s
	if measured() {
		rows = 12 * 64
	}
	p := random(t, rows)
	for _, c := range []struct {
		name             string
		upload, download int64
		seeders          int
		ahead            int64 // bytes that may pass before the limit takes hold
	}{
		{name: "upload", upload: rate, seeders: 1, ahead: rate / 8},
		{name: "download", download: rate, seeders: 2, ahead: 2 * rate / 2}, // what two systems take in
	} {
		t.Run(c.name, func(t *testing.T) {
			leecher := open(t, func(cfg *swarm.Config) { cfg.DownloadRate = c.download })
			torrent := add(t, leecher, newBlock(t, p.bundle))
			var wires []*wire
			for range c.seeders {
				seeder := open(t, func(cfg *swarm.Config) { cfg.UploadRate = c.upload })
				add(t, seeder, whole(t, p))
				wires = append(wires, newWire(t, seeder.Addr()))
			}
			passed := func() (n int64) {
				for _, w := range wires {
					n += w.back.Load()
				}
				return n
			}
			began := time.Now()
			for _, w := range wires {
				torrent.AddPeers(w.addr)
			}
			var first, last struct {
				at    time.Time
				bytes int64
			}
			err := torrent.FetchAny(testContext(t), func(swarm.Status) {
				n, now := passed(), time.Now() // in this order: a stall in between makes the bound no stricter
				if limit := c.ahead + int64(rate*now.Sub(began).Seconds()); n > limit {
					t.Errorf("%d bytes after %v, want at most %d", n, now.Sub(began), limit)
				}
				if first.at.IsZero() && now.Sub(began) > time.Second {
					first.at, first.bytes = now, n
				}
				if now.Sub(first.at) < 10*time.Second+50*time.Millisecond {
					last.at, last.bytes = now, n
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if !measured() {
				return
			}
			got := float64(last.bytes-first.bytes) / last.at.Sub(first.at).Seconds() / rate
			t.Logf("%.4f times the rate over %v", got, last.at.Sub(first.at))
			if got < 0.95 || got > 1.05 {
				t.Errorf("%.3f times the rate, want 0.95 to 1.05", got)
			}
		})
	}
}

func TestWhatMayNotBeSpentDoesNotPass(t *testing.T) {
	const budget = 300 << 10
	p := random(t, 64)
	spent := errors.New("spent")
	var sent, received atomic.Int64
	spend := func(up, down int) error {
		if received.Add(int64(down)); sent.Load()+int64(up) > budget || up+down == 0 && sent.Load() == budget {
			return spent
		}
		sent.Add(int64(up))
		return nil
	}
	seeder := open(t, func(c *swarm.Config) { c.Spend = spend })
	add(t, seeder, whole(t, p))
	w := newWire(t, seeder.Addr())
	torrent := add(t, open(t), newBlock(t, p.bundle))
	torrent.AddPeers(w.addr)
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	go func() { done <- torrent.FetchAny(ctx, nil) }()
	waitFor(t, "most of the budget to be used", func() bool { return sent.Load() > budget*9/10 })
	waitFor(t, "the connection to be cut", func() bool { return torrent.Status().Peers == 0 })
	cancel()
	<-done
	if got := w.back.Load(); got > budget {
		t.Errorf("%d bytes passed, want at most %d", got, budget)
	}
	if got, want := received.Load(), w.forward.Load(); got > want {
		t.Errorf("%d bytes received were counted, want at most the %d that passed", got, want)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	s := open(t, func(c *swarm.Config) { c.MaxConns = 8 })
	const callers, allowed = 20, 6 // a quarter is kept for those that s opens
	var refused atomic.Int32
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(testContext(t))
	for range callers {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: newIP().AsSlice()}}
		c, err := d.DialContext(t.Context(), "tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
			if _, err := c.Read(make([]byte, 1)); errors.Is(err, io.EOF) || isReset(err) {
				refused.Add(1)
			}
		})
	}
	waitFor(t, "the others to be refused", func() bool {
		if n := s.Connections(); n > allowed {
			t.Errorf("%d connections, want at most %d", n, allowed)
		}
		return refused.Load() >= callers-allowed
	})
	cancel()
	running.Wait()
}

func TestConnectionsOfAllTorrentsCountTogether(t *testing.T) {
	leecher := open(t, func(c *swarm.Config) { c.MaxConns = 3 })
	gate := make(chan struct{})
	var torrents []*swarm.Torrent
	for i := range 2 {
		p := publish(t, randomBytes(20*erasure.RowSize+i))
		torrent := add(t, leecher, newBlock(t, p.bundle))
		for range 4 {
			s := open(t)
			add(t, s, stalling{whole(t, p), gate})
			torrent.AddPeers(s.Addr())
		}
		torrents = append(torrents, torrent)
		fetching(t, torrent)
	}
	t.Cleanup(func() { close(gate) }) // before the swarms are closed
	waitFor(t, "the connections that are allowed", func() bool {
		n := leecher.Connections()
		if n > 3 {
			t.Errorf("%d connections, want at most 3", n)
		}
		return n == 3 && torrents[0].Status().Peers+torrents[1].Status().Peers == 3
	})
}

// fetching keeps a fetch running until the test ends.
func fetching(t *testing.T, torrent *swarm.Torrent) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- torrent.FetchAny(ctx, nil) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}
