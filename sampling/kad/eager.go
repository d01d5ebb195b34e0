package kad

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"
)

// eager is a host that asks at once. libp2p's own waits after a dial until the
// peer has said what it speaks, which is a round trip in each lookup hop and
// before each first row; whoever does not speak what it is asked in says so
// then. With dials set it also gives up those that take longer than others do.
type eager struct {
	host.Host
	dials *dials // of a DHT, whose servers can all be dialled; nil: dialTimeout alone
}

// Connect implements host.Host.
func (e eager) Connect(ctx context.Context, to peer.AddrInfo) error {
	e.Peerstore().AddAddrs(to.ID, to.Addrs, peerstore.TempAddrTTL)
	switch limited, _ := network.GetAllowLimitedConn(ctx); e.Network().Connectedness(to.ID) {
	case network.Connected:
		return nil
	case network.Limited:
		if limited {
			return nil
		}
	}
	if e.dials == nil {
		_, err := e.Network().DialPeer(ctx, to.ID)
		return err
	}
	return e.dials.try(ctx, to.ID, func(ctx context.Context) error {
		_, err := e.Network().DialPeer(ctx, to.ID)
		return err
	})
}

// NewStream implements host.Host. With more than one protocol to choose from it
// asks which, as libp2p does.
func (e eager) NewStream(ctx context.Context, to peer.ID, ids ...protocol.ID) (network.Stream, error) {
	if len(ids) != 1 {
		return e.Host.NewStream(ctx, to, ids...)
	}
	if err := e.Connect(ctx, peer.AddrInfo{ID: to}); err != nil {
		return nil, err
	}
	s, err := e.Network().NewStream(network.WithNoDial(ctx, "dialled"), to)
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	if err := s.SetProtocol(ids[0]); err != nil {
		_ = s.Reset()
		return nil, err
	}
	return &lazyStream{Stream: s, rw: multistream.NewMSSelect(s, ids[0])}, nil
}

// lazyStream names its protocol with the first bytes that are written.
type lazyStream struct {
	network.Stream
	rw io.ReadWriteCloser
}

func (s *lazyStream) Read(p []byte) (int, error)  { return s.rw.Read(p) }
func (s *lazyStream) Write(p []byte) (int, error) { return s.rw.Write(p) }

// closePatience bounds what Close waits for the other side to have agreed to the
// protocol.
const closePatience = 10 * time.Second

// Close implements network.Stream.
func (s *lazyStream) Close() error {
	_ = s.SetReadDeadline(time.Now().Add(closePatience))
	return s.rw.Close()
}

// CloseWrite implements network.Stream.
func (s *lazyStream) CloseWrite() error {
	if f, ok := s.rw.(interface{ Flush() error }); ok {
		_ = f.Flush() // what fails here fails at the next read
	}
	return s.Stream.CloseWrite()
}

const (
	// A dial that takes dialMargin times as long as most is given up. With a
	// lost packet QUIC takes three round trips, without one. Behind QUIC, TCP
	// begins 250 ms late, so that minDial leaves it two round trips of 275 ms.
	dialMargin = 4
	minDial    = 800 * time.Millisecond

	dialWindow = 64 // dials remembered
	dialEnough = 4  // to go by
	dialWhole  = 8  // one dial of so many has dialTimeout whatever others took

	// deadFor is for how long a peer that could not be dialled is not dialled
	// again by a lookup, deadMost how many of them are remembered.
	deadFor  = 30 * time.Second
	deadMost = 4096
)

// dials learns from how long dials take which of them are in vain. All lookups
// share what one has learned.
//
// Only dials that came through say how long living peers take, and none does
// that was given up: by those alone, peers slower than the first few would look
// dead for ever. So a dial given up early is no verdict. That peer's next one
// has dialTimeout, as has one of dialWhole of all; what comes through then
// counts like any. However many are dead, they add nothing.
type dials struct {
	mu   sync.Mutex // guards what follows
	took []time.Duration
	next int // where the next goes once took is full
	made int // dials
	vain map[peer.ID]vainDial
}

// vainDial is how the last dial of a peer failed.
type vainDial struct {
	at    time.Time
	early bool // given up before dialTimeout
}

// dead reports whether the peer is not to be dialled now.
func (v vainDial) dead(now time.Time) bool { return !v.early && now.Sub(v.at) < deadFor }

func newDials() *dials { return &dials{vain: make(map[peer.ID]vainDial)} }

// try dials p, unless that was in vain a short while ago.
func (d *dials) try(ctx context.Context, p peer.ID, dial func(context.Context) error) error {
	began := time.Now()
	limit := d.limit(p, began)
	if limit == 0 {
		return fmt.Errorf("dial %s: %w", p, ErrUnreachable)
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := dial(limited)
	early := limit < dialTimeout && limited.Err() != nil
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil:
		delete(d.vain, p)
		d.add(time.Since(began))
	case ctx.Err() == nil:
		d.fail(p, vainDial{time.Now(), early})
	}
	return err
}

// limit is how long a dial of p may take; 0: p is dead.
func (d *dials) limit(p peer.ID, now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	last, failed := d.vain[p]
	if failed && last.dead(now) {
		return 0
	}
	d.made++
	if failed && last.early || d.made%dialWhole == 0 {
		return dialTimeout
	}
	return d.patience()
}

// fail remembers that p could not be dialled. d.mu is held.
func (d *dials) fail(p peer.ID, v vainDial) {
	last, known := d.vain[p]
	if known && v.early && last.dead(v.at) {
		return // a longer dial at the same time has said more
	}
	if !known && len(d.vain) >= deadMost {
		for q, old := range d.vain {
			if v.at.Sub(old.at) >= deadFor {
				delete(d.vain, q)
			}
		}
	}
	if known || len(d.vain) < deadMost {
		d.vain[p] = v
	}
}

// add remembers how long a dial took. d.mu is held.
func (d *dials) add(took time.Duration) {
	if len(d.took) < dialWindow {
		d.took = append(d.took, took)
		return
	}
	d.took[d.next] = took
	d.next = (d.next + 1) % dialWindow
}

// patience is how long a dial may take: dialMargin times what three of four
// took, at most dialTimeout. d.mu is held.
func (d *dials) patience() time.Duration {
	if len(d.took) < dialEnough {
		return dialTimeout
	}
	sorted := slices.Sorted(slices.Values(d.took))
	return min(max(dialMargin*sorted[len(sorted)*3/4], minDial), dialTimeout)
}
