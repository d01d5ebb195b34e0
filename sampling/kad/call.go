package kad

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"

	"granary/sampling/kad/internal/wire"
)

const (
	// A request is a few packets, and a reply fits the windows of a healthy
	// connection: whoever needs longer is given up.
	readTimeout  = 5 * time.Second
	writeTimeout = 10 * time.Second // thinking included

	// askTimeout bounds a request, dialling included, if the context does not.
	askTimeout = 10 * time.Second

	// slowDial is when a dial that is still going on counts against a holder.
	slowDial = time.Second
)

// Service is a request protocol: one request and one reply on a stream of its
// own, each behind its length. A Service of another package, for Host.Serve and
// Host.Call, has messages of its own, of which the host knows nothing but that
// an empty reply means busy.
type Service struct {
	Protocol   string // as on the wire, for example "/granary/light/1.0.0"
	MaxRequest int    // bytes
	MaxReply   int    // bytes
	Tokens     int    // what a request costs of its sender's bucket: about one per 16 KiB of reply, at most 512
}

func (s Service) id() protocol.ID { return protocol.ID(s.Protocol) }

// scope names the resource manager's scope for a service.
func (s Service) scope() string { return "granary" + s.Protocol }

// Serve answers requests of s from now on. answer is called concurrently, must
// return soon, and returns 1 to MaxReply bytes; ctx ends with the stream's
// deadline or with the host. It is not called, and the peer told busy, when too
// much is asked at once; a request longer than MaxRequest is answered by a
// reset.
func (h *Host) Serve(s Service, answer func(ctx context.Context, from peer.ID, request []byte) []byte) {
	h.serve(s, nil, func(ctx context.Context, from peer.ID, request []byte) ([]byte, error) {
		return answer(ctx, from, request), nil
	})
}

// answerer returns the reply to a request, or an error if it is none.
type answerer func(ctx context.Context, from peer.ID, request []byte) ([]byte, error)

// serve is Serve, for a busy reply of the service's own. What answer says is no
// request is answered by a reset.
func (h *Host) serve(s Service, busy []byte, answer answerer) {
	h.host.SetStreamHandler(s.id(), func(stream network.Stream) {
		if !h.enter() {
			_ = stream.Reset()
			return
		}
		defer h.work.Done()
		if err := h.exchange(s, stream, busy, answer); err != nil {
			h.counts.add(s.Protocol, "served", "dropped", 0) // before the peer can see it
			_ = stream.Reset()
			h.log.Debug("request dropped", "protocol", s.Protocol, "peer", stream.Conn().RemotePeer(), "err", err)
			return
		}
		_ = stream.Close()
	})
}

func (h *Host) exchange(s Service, stream network.Stream, busy []byte, answer answerer) error {
	if err := stream.Scope().SetService(s.scope()); err != nil {
		return err
	}
	if err := stream.SetReadDeadline(time.Now().Add(readTimeout)); err != nil {
		return err
	}
	request, err := wire.ReadFrame(stream, s.MaxRequest)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(writeTimeout)
	if err := stream.SetWriteDeadline(deadline); err != nil {
		return err
	}
	reply, result := busy, "busy"
	if done, ok := h.admit.enter(remoteIP(stream.Conn()), s.Tokens); ok {
		defer done() // once it is written: until then it takes memory
		ctx, cancel := context.WithDeadline(h.ctx, deadline)
		defer cancel()
		if reply, err = answer(ctx, stream.Conn().RemotePeer(), request); err != nil {
			return err
		}
		result = "answered"
	}
	if len(reply) > s.MaxReply {
		h.log.Warn("reply too long", "protocol", s.Protocol, "bytes", len(reply))
		reply, result = busy, "busy" // our trouble: the peer should ask another
	}
	if err := wire.WriteFrame(stream, reply); err != nil {
		return err
	}
	h.counts.add(s.Protocol, "served", result, len(reply))
	return nil
}

// Call sends a request of s to a peer and returns its reply, of 1 to MaxReply
// bytes. It returns ErrBusy, ErrProtocol or ErrUnreachable; any other error
// means that there was no answer. A peer that does not serve s gives none.
func (h *Host) Call(ctx context.Context, p peer.ID, s Service, request []byte) ([]byte, error) {
	reply, _, err := h.call(ctx, p, s, request)
	if err == nil && len(reply) == 0 {
		err = ErrBusy
	}
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", s.Protocol, p, err)
	}
	return reply, nil
}

// call is Call, for replies of any meaning. It also returns the IP address the
// reply came from.
func (h *Host) call(ctx context.Context, p peer.ID, s Service, request []byte) ([]byte, netip.Addr, error) {
	if len(request) > s.MaxRequest {
		return nil, netip.Addr{}, fmt.Errorf("request of %d bytes, at most %d allowed", len(request), s.MaxRequest)
	}
	if !h.enter() {
		return nil, netip.Addr{}, ErrClosed
	}
	defer h.work.Done()
	ctx, cancel := h.within(ctx)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, askTimeout)
	defer cancel()

	asked := time.Now()
	reply, ip, err := h.converse(ctx, p, s, request)
	// Who asked may have had its answer from elsewhere: then only a dial that
	// has taken long says something.
	if err == nil || ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) ||
		time.Since(asked) > slowDial && h.host.Network().Connectedness(p) != network.Connected {
		h.table.note(p, err == nil, time.Now())
	}
	switch {
	case err == nil:
		h.counts.add(s.Protocol, "asked", "answered", len(reply))
		return reply, ip, nil
	case errors.Is(err, ErrUnreachable):
		h.counts.add(s.Protocol, "asked", "unreachable", 0)
	default:
		h.counts.add(s.Protocol, "asked", "failed", 0)
	}
	switch {
	case h.ctx.Err() != nil:
		return nil, netip.Addr{}, ErrClosed
	case ctx.Err() != nil:
		return nil, netip.Addr{}, ctx.Err()
	}
	return nil, netip.Addr{}, err
}

func (h *Host) converse(ctx context.Context, p peer.ID, s Service, request []byte) ([]byte, netip.Addr, error) {
	if h.host.Network().Connectedness(p) != network.Connected {
		// Without an address the routed host would look one up.
		h.host.Peerstore().AddAddrs(p, h.table.addrs(p), peerstore.TempAddrTTL)
	}
	stream, err := h.routed.NewStream(ctx, p, s.id())
	if err != nil {
		if ctx.Err() == nil && h.host.Network().Connectedness(p) != network.Connected {
			h.log.Debug("peer not reached", "peer", p, "err", err) // a line per address
			err = ErrUnreachable
		}
		return nil, netip.Addr{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset() })
	defer stop()
	reply, err := roundTrip(stream, request, s.MaxReply)
	if err != nil {
		_ = stream.Reset()
		return nil, netip.Addr{}, err
	}
	ip := remoteIP(stream.Conn())
	_ = stream.Close() // the reply is here
	return reply, ip, nil
}

func roundTrip(stream network.Stream, request []byte, limit int) ([]byte, error) {
	if err := wire.WriteFrame(stream, request); err != nil {
		return nil, fmt.Errorf("send request: %w", err)
	}
	reply, err := wire.ReadFrame(stream, limit)
	if errors.Is(err, wire.ErrMalformed) {
		err = fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return reply, err
}
