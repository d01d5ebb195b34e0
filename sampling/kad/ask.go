package kad

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/erasure"
	"granary/sampling"
	"granary/sampling/kad/internal/wire"
)

// helloTimeout is shorter than that of other requests, since a hello costs its
// server nothing: a peer that does not answer it in time is taken for dead.
const helloTimeout = 3 * time.Second

// What can come of asking a peer, but for a connection that breaks.
var (
	ErrUnreachable = errors.New("cannot be reached") // no address of it is known, or none answers
	ErrNotHeld     = errors.New("not held")
	ErrBusy        = errors.New("busy")                           // ask again later, or another
	ErrPending     = errors.New("pending")                        // being fetched, will be held
	ErrOtherChain  = errors.New("belongs to another network")     // the peer's chain ID differs
	ErrProtocol    = errors.New("peer does not keep to protocol") // its answer is malformed or a lie
)

// Hello is what a peer says of itself, and of one block if asked.
type Hello struct {
	Torrent   netip.AddrPort    // the IP address observed here with the BitTorrent port it names; zero if it names none
	Groups    sampling.GroupSet // recomputed from its ID; 0 if it is no custodian
	Custodian bool              // it says that it keeps the pieces of its groups
	Known     bool              // its Bundle of the block can be asked for
	Held      []byte            // bitfield of the block's pieces, for erasure.ParsePieceSet; empty when it knows none
}

// Hello asks a peer who it is, and what it holds of a block unless id is zero.
// It returns ErrOtherChain if the peer belongs to another network, ErrBusy, or
// ErrProtocol; any other error, ErrUnreachable among them, means that there was
// no answer. A peer that is connected but silent for 3 s is disconnected.
func (h *Host) Hello(ctx context.Context, p peer.ID, id erasure.ID) (Hello, error) {
	request := wire.HelloRequest{Chain: h.cfg.Chain}
	if id != (erasure.ID{}) {
		request.ID = id[:]
	}
	patience, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	asked := time.Now()
	reply, ip, err := ask[wire.HelloReply](patience, h, p, helloService, request)
	if patience.Err() != nil && ctx.Err() == nil {
		// A peer whose machine died is connected until QUIC notices, after 30 s
		// of silence, and meanwhile every lookup waits for it.
		_ = h.host.Network().ClosePeer(p)
	}
	if err == nil {
		err = errorOf(reply.Status)
	}
	if err == nil && reply.Chain != h.cfg.Chain {
		err = ErrOtherChain
	}
	if errors.Is(err, ErrOtherChain) {
		h.table.drop(p)
	}
	if err != nil {
		return Hello{}, fmt.Errorf("hello to %s: %w", p, err)
	}
	hello := Hello{Custodian: reply.Custodian, Known: reply.Known, Held: reply.Held}
	if reply.Torrent != 0 && ip.IsValid() {
		hello.Torrent = netip.AddrPortFrom(ip, reply.Torrent)
	}
	if reply.Custodian {
		hello.Groups = h.groupsOf(p)
		h.table.addHeard(p, h.host.Peerstore().Addrs(p), time.Now())
	} else {
		h.table.drop(p)
	}
	kept := hello
	kept.Known, kept.Held = false, nil
	h.remember(p, func(n *note) { n.hello, n.took = &kept, time.Since(asked) })
	return hello, nil
}

// Bundle asks a peer to describe a block, and checks that the answer, proof
// included, is that of id. It returns ErrNotHeld, ErrBusy, ErrPending or
// ErrProtocol; any other error, ErrUnreachable among them, means that there was
// no answer.
func (h *Host) Bundle(ctx context.Context, p peer.ID, id erasure.ID) (erasure.Bundle, error) {
	reply, _, err := ask[wire.BundleReply](ctx, h, p, bundleService, wire.BundleRequest{ID: id})
	if err == nil {
		err = errorOf(reply.Status)
	}
	var b erasure.Bundle
	if err == nil {
		if b, err = reply.Bundle(id); err != nil {
			err = fmt.Errorf("%w: %w", ErrProtocol, err)
		}
	}
	if err != nil {
		return erasure.Bundle{}, fmt.Errorf("description of block %s from %s: %w", id.Short(), p, err)
	}
	h.useful(p)
	return b, nil
}

// useful notes that p gave something.
func (h *Host) useful(p peer.ID) { h.remember(p, func(n *note) { n.useful = time.Now() }) }

// Row asks a peer for one row of a block and its Merkle path, which nobody has
// verified: the caller does, with erasure.Verifier. It returns ErrNotHeld,
// ErrBusy, ErrPending or ErrProtocol; any other error, ErrUnreachable among
// them, means that there was no answer.
func (h *Host) Row(ctx context.Context, p peer.ID, id erasure.ID, row int) ([]byte, []erasure.Root, error) {
	if row < 0 || row >= 2*erasure.MaxContentRows {
		return nil, nil, fmt.Errorf("row %d of %s: no block has it", row, id.Short())
	}
	reply, _, err := ask[wire.RowReply](ctx, h, p, rowService, wire.RowRequest{ID: id, Row: uint32(row)})
	if err == nil {
		err = errorOf(reply.Status)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("row %d of %s from %s: %w", row, id.Short(), p, err)
	}
	h.useful(p)
	return reply.Row, reply.Siblings(), nil
}

// errorOf is what a status means to the asking side.
func errorOf(s wire.Status) error {
	switch s {
	case wire.OK:
		return nil
	case wire.NotHeld:
		return ErrNotHeld
	case wire.Busy:
		return ErrBusy
	case wire.Pending:
		return ErrPending
	case wire.OtherChain:
		return ErrOtherChain
	}
	return ErrProtocol
}

// ask calls a service of messages. It also returns the IP address the reply
// came from.
func ask[R wire.Message](ctx context.Context, h *Host, p peer.ID, s Service, request wire.Message) (R, netip.Addr, error) {
	var none R
	body, ip, err := h.call(ctx, p, s, wire.Encode(request))
	if err != nil {
		return none, netip.Addr{}, err
	}
	reply, err := wire.Decode[R](body)
	if err != nil {
		return none, netip.Addr{}, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return reply, ip, nil
}
