package swarm

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"time"

	"github.com/anacrolix/torrent/bencode"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"granary/erasure"
)

const (
	// An info dictionary of ours takes less than 1.5 KB, so a peer that has it
	// sends it in one ut_metadata piece.
	maxInfo = 16 << 10

	// Enough for a bitfield, an extended handshake or 512 hashes.
	maxDescribeMessage = 64 << 10

	describeAtOnce  = 8
	describeTimeout = 15 * time.Second // for one peer
)

// Describe asks peers, stock clients among them, for what belongs to a bare
// magnet link: the info dictionary by ut_metadata (BEP 9) and the piece layers
// by hash requests (BEP 52). All of it is checked against id. The bundle has
// no Proof: BitTorrent does not carry it. A block already added is described
// without asking anybody.
//
// It speaks for itself instead of letting the engine do it: the engine would
// size its tables by whatever lengths a hostile info dictionary claims, and
// takes layers only from peers that have a whole file.
func (s *Swarm) Describe(ctx context.Context, id erasure.ID, peers []netip.AddrPort) (erasure.Bundle, error) {
	if t, ok := s.Torrent(id); ok {
		return t.block.Bundle(), nil
	}
	done, ok := s.begin()
	if !ok {
		return erasure.Bundle{}, ErrClosed
	}
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()

	type answer struct {
		bundle erasure.Bundle
		err    error
	}
	answers := make(chan answer)
	turns := make(chan struct{}, describeAtOnce)
	for _, addr := range peers {
		go func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			b, err := s.describeFrom(ctx, id, addr)
			answers <- answer{b, err}
		}()
	}
	var found *erasure.Bundle
	var errs []error
	for range peers { // all of them, so that none outlives the call
		a := <-answers
		switch {
		case a.err == nil && found == nil:
			found = &a.bundle
			cancel()
		case a.err != nil:
			errs = append(errs, a.err)
		}
	}
	if found != nil {
		return *found, nil
	}
	if err := context.Cause(ctx); err != nil {
		return erasure.Bundle{}, fmt.Errorf("describe %s: %w", id.Short(), err)
	}
	return erasure.Bundle{}, fmt.Errorf("describe %s: none of %d peers could: %w", id.Short(), len(peers), errors.Join(errs...))
}

func (s *Swarm) describeFrom(ctx context.Context, id erasure.ID, addr netip.AddrPort) (b erasure.Bundle, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", addr, err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	nc, err := s.gate.Dial(ctx, addr.String())
	if err != nil {
		return b, err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })()
	return describeOver(ctx, nc, id)
}

func describeOver(ctx context.Context, nc net.Conn, id erasure.ID) (b erasure.Bundle, err error) {
	a, err := ask(ctx, nc, id)
	if err != nil {
		return b, err
	}
	data, err := a.info(id)
	if err != nil {
		return b, err
	}
	if b.Info, err = erasure.ParseInfo(data); err != nil {
		return b, err
	}
	if b.Layers.Content, err = a.layer(b.Info, b.Info.Content); err != nil {
		return b, err
	}
	b.Layers.Parity = b.Layers.Content
	if b.Info.Parity != b.Info.Content {
		if b.Layers.Parity, err = a.layer(b.Info, b.Info.Parity); err != nil {
			return b, err
		}
	}
	return b, b.Check()
}

// asker is a connection on which nothing but metadata is asked for.
type asker struct {
	nc net.Conn
	in pp.Decoder
}

// ask shakes hands, by BEP 3 and BEP 10.
func ask(ctx context.Context, nc net.Conn, id erasure.ID) (*asker, error) {
	var peerID [20]byte
	copy(peerID[:], peerIDPrefix)
	_, _ = rand.Read(peerID[len(peerIDPrefix):])
	short := shortHash(id)
	res, err := pp.Handshake(ctx, nc, &short, peerID, pp.NewPeerExtensionBytes(pp.ExtensionBitLtep))
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if res.Hash != short || !res.SupportsExtended() {
		return nil, errors.New("handshake: peer does not know the block, or no extensions")
	}
	a := &asker{nc: nc, in: pp.Decoder{R: bufio.NewReader(nc), MaxLength: maxDescribeMessage}}
	payload, err := bencode.Marshal(pp.ExtendedHandshakeMessage{
		V: clientVersion,
		M: map[pp.ExtensionName]pp.ExtensionNumber{pp.ExtensionNameMetadata: metadataExtension},
	})
	if err != nil {
		return nil, err
	}
	return a, a.send(pp.Message{Type: pp.Extended, ExtendedID: pp.HandshakeExtendedID, ExtendedPayload: payload})
}

// metadataExtension is the number by which we want ut_metadata sent to us.
const metadataExtension = 1

func (a *asker) send(m pp.Message) error {
	b, err := m.MarshalBinary()
	if err != nil {
		return err
	}
	_, err = a.nc.Write(b)
	return err
}

// next returns the next message that want accepts. A peer may send others
// meanwhile, but not without end.
func (a *asker) next(want func(pp.Message) bool) (pp.Message, error) {
	const patience = 4096 // twice the "have" messages of the largest block, and more
	for range patience {
		var m pp.Message
		if err := a.in.Decode(&m); err != nil {
			return m, err
		}
		if !m.Keepalive && want(m) {
			return m, nil
		}
	}
	return pp.Message{}, errors.New("peer talks of other things")
}

// info fetches the info dictionary. Its hash is the block's ID.
func (a *asker) info(id erasure.ID) ([]byte, error) {
	m, err := a.next(func(m pp.Message) bool { return m.Type == pp.Extended && m.ExtendedID == pp.HandshakeExtendedID })
	if err != nil {
		return nil, fmt.Errorf("extended handshake: %w", err)
	}
	var hello pp.ExtendedHandshakeMessage
	if err := bencode.Unmarshal(m.ExtendedPayload, &hello); err != nil {
		return nil, fmt.Errorf("extended handshake: %w", err)
	}
	number, size := hello.M[pp.ExtensionNameMetadata], hello.MetadataSize
	if number == 0 || size <= 0 || size > maxInfo {
		return nil, fmt.Errorf("peer offers %d bytes of metadata", size)
	}
	if err := a.send(pp.MetadataExtensionRequestMsg(number, 0)); err != nil {
		return nil, err
	}
	m, err = a.next(func(m pp.Message) bool { return m.Type == pp.Extended && m.ExtendedID == metadataExtension })
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	// A bencoded header goes before the data. The hash tells whether the rest
	// is what we want, so the header need not be read.
	data := m.ExtendedPayload[max(0, len(m.ExtendedPayload)-size):]
	if sha256.Sum256(data) != id {
		return nil, errors.New("peer refused the metadata or sent other")
	}
	return data, nil
}

// layer fetches the piece hashes of the file with root. They are not checked
// here: Bundle.Check does.
func (a *asker) layer(info erasure.Info, root erasure.Root) ([]erasure.Root, error) {
	g := info.Geometry()
	n := g.FilePieces()
	if n == 1 {
		return []erasure.Root{root}, nil
	}
	request := pp.Message{
		Type:       pp.HashRequest,
		PiecesRoot: root,
		BaseLayer:  pp.Integer(bits.TrailingZeros(uint(g.PieceRows()))), // of a piece's root above the rows
		Length:     pp.Integer(1 << bits.Len(uint(n-1))),
	}
	if err := a.send(request); err != nil {
		return nil, err
	}
	m, err := a.next(func(m pp.Message) bool {
		return (m.Type == pp.Hashes || m.Type == pp.HashReject) && m.PiecesRoot == request.PiecesRoot
	})
	if err != nil {
		return nil, fmt.Errorf("piece layer: %w", err)
	}
	if len(m.Hashes) < n {
		return nil, fmt.Errorf("piece layer: %d hashes of %d", len(m.Hashes), n)
	}
	layer := make([]erasure.Root, n)
	for i := range layer {
		layer[i] = m.Hashes[i]
	}
	return layer, nil
}
