package kad

import (
	"context"
	"fmt"
	"io"
	"maps"
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
// then. With dials set it also waits for none that takes longer than others do.
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
	// A dial that takes dialMargin times as long as most is not waited for. With
	// a lost packet QUIC takes three round trips, without one. Behind QUIC, TCP
	// begins 250 ms late, so that minDial leaves it two round trips of 275 ms.
	dialMargin = 4
	minDial    = 800 * time.Millisecond

	dialWindow = 64 // dials remembered
	dialEnough = 4  // to go by

	// deadFor is for how long a peer that could not be dialled is not dialled
	// again by a lookup, deadMost how many of them are remembered.
	deadFor  = 30 * time.Second
	deadMost = 4096
)

// dials learns from how long dials take which of them are in vain. All lookups
// share what one has learned.
//
// A lookup that stops waiting for a dial does not end it: a peer slower than
// most comes through a moment later, counts like any other, and is in the
// routing table again, out of which the DHT puts whoever was not reached in time.
// However many are dead, they add nothing.
type dials struct {
	host *Host // whose the dials are

	mu   sync.Mutex // guards what follows
	took []time.Duration
	next int                   // where the next goes once took is full
	vain map[peer.ID]time.Time // when their last dial failed
}

func newDials(h *Host) *dials { return &dials{host: h, vain: make(map[peer.ID]time.Time)} }

// try dials p, unless that was in vain a short while ago, and waits for it as
// long as others would take. The dial has dialTimeout in any case, unless ctx
// ends while it is waited for.
func (d *dials) try(ctx context.Context, p peer.ID, dial func(context.Context) error) error {
	began := time.Now()
	patience := d.patience(p, began)
	if patience == 0 {
		return fmt.Errorf("dial %s: %w", p, ErrUnreachable)
	}
	going, stop := d.host.within(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	if !d.host.start(func() {
		defer stop()
		limited, end := context.WithTimeout(going, dialTimeout)
		defer end()
		err := dial(limited)
		if going.Err() == nil {
			d.ended(p, began, err)
		}
		done <- err
	}) {
		stop()
		return ErrClosed
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return fmt.Errorf("dial %s: not through after %v: %w", p, patience, ErrUnreachable)
	case <-ctx.Done():
		stop()
		return ctx.Err()
	}
}

// patience is how long to wait for a dial of p: dialMargin times what three of
// four took, at most dialTimeout; 0: p is dead.
func (d *dials) patience(p peer.ID, now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, failed := d.vain[p]; failed && now.Sub(at) < deadFor {
		return 0
	}
	if len(d.took) < dialEnough {
		return dialTimeout
	}
	sorted := slices.Sorted(slices.Values(d.took))
	return min(max(dialMargin*sorted[len(sorted)*3/4], minDial), dialTimeout)
}

// ended remembers how a dial of p went.
func (d *dials) ended(p peer.ID, began time.Time, err error) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		delete(d.vain, p)
		d.add(now.Sub(began))
		return
	}
	_, known := d.vain[p]
	if !known && len(d.vain) >= deadMost {
		maps.DeleteFunc(d.vain, func(_ peer.ID, at time.Time) bool { return now.Sub(at) >= deadFor })
	}
	if known || len(d.vain) < deadMost {
		d.vain[p] = now
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
