package light

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"granary/ledger"
)

// Source is a node that has the chain: *chain.Chain is one.
type Source interface {
	// LightBlock returns the light block of a height in protobuf, the latest for
	// 0: ledger.ErrNotFound for a height that is not there.
	LightBlock(height int64) ([]byte, error)

	// View calls read with the state as it is.
	View(read func(*ledger.State)) error

	// Submit hands a transaction to the network.
	Submit(ctx context.Context, raw []byte) error

	// Evidence returns what shows that validators signed twice, the latest first,
	// at most count: each a tendermint.types.DuplicateVoteEvidence in protobuf.
	Evidence(count int) ([][]byte, error)

	// Accuse hands such evidence to the network, which need not be true.
	Accuse(evidence []byte) error
}

// Serve answers a request of Protocol. It answers everything: what it does not
// understand, with a code. The reply has at most MaxReply bytes.
func Serve(src Source, req []byte) []byte {
	body, err := serve(src, req)
	r := reply{Code: codeOK}
	switch {
	case err == nil:
		r.Body = marshal(body)
	case errors.Is(err, ledger.ErrMalformed):
		r.Code = codeMalformed
	case errors.Is(err, ledger.ErrNotFound):
		r.Code = codeNotFound
	case errors.Is(err, errAhead):
		r.Code = codeAhead
	default:
		r.Code = codeFailed
	}
	return marshal(r)
}

// errAhead reports a thing that lies beyond the log that the client knows.
var errAhead = errors.New("the client's head is too old")

// ServeTx answers a request of TxProtocol.
func ServeTx(ctx context.Context, src Source, raw []byte) []byte {
	var r txReply
	if err := src.Submit(ctx, raw); err != nil {
		r = txReply{Code: ledger.Code(err), Detail: detail(err.Error())}
	}
	return marshal(r)
}

// detail returns text as a reply can carry it: in UTF-8, which a client demands,
// and not cut within a character.
func detail(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	for end := maxDetail; len(text) > maxDetail; end-- {
		if utf8.RuneStart(text[end]) {
			text = text[:end]
		}
	}
	return text
}

// serve returns the body of the reply.
func serve(src Source, raw []byte) (any, error) {
	if len(raw) > MaxRequest {
		return nil, fmt.Errorf("%w: request of %d bytes", ledger.ErrMalformed, len(raw))
	}
	var req request
	if err := unmarshal(raw, &req); err != nil {
		return nil, err
	}
	switch req.Kind {
	case kindHead:
		return respond(req.Body, func(q headRequest) (headReply, error) { return serveHead(src, q) })
	case kindEntries:
		return respond(req.Body, func(q entriesRequest) (entriesReply, error) {
			return viewed(src, func(s *ledger.State) (entriesReply, error) { return serveEntries(s, q) })
		})
	case kindFind:
		return respond(req.Body, func(q findRequest) (findReply, error) {
			return viewed(src, func(s *ledger.State) (findReply, error) { return serveFind(s, q) })
		})
	case kindValue:
		return respond(req.Body, func(q valueRequest) (valueReply, error) {
			return viewed(src, func(s *ledger.State) (valueReply, error) {
				value, proof, err := s.ValueAt(q.Key, q.Size)
				return valueReply{Value: value, Other: proof.Other, Path: proof.Path}, err
			})
		})
	case kindTrail:
		return respond(req.Body, func(q trailRequest) (entriesReply, error) {
			return viewed(src, func(s *ledger.State) (entriesReply, error) { return serveTrail(s, q) })
		})
	case kindTwice:
		return respond(req.Body, func(q twiceRequest) (twiceReply, error) { return serveTwice(src, q) })
	case kindAccuse:
		return respond(req.Body, func(q accuseRequest) (accuseReply, error) { return serveAccuse(src, q) })
	}
	return nil, fmt.Errorf("%w: request of kind %d", ledger.ErrMalformed, req.Kind)
}

func respond[Q, R any](body []byte, serve func(Q) (R, error)) (any, error) {
	var q Q
	if err := unmarshal(body, &q); err != nil {
		return nil, err
	}
	return serve(q)
}

// viewed returns what read returns for the source's state.
func viewed[R any](src Source, read func(*ledger.State) (R, error)) (R, error) {
	var r R
	var failed error
	if err := src.View(func(s *ledger.State) { r, failed = read(s) }); err != nil {
		return r, err
	}
	return r, failed
}

func serveHead(src Source, q headRequest) (headReply, error) {
	if q.Height < 0 {
		return headReply{}, fmt.Errorf("%w: height %d", ledger.ErrMalformed, q.Height)
	}
	raw, err := src.LightBlock(q.Height)
	if err != nil {
		return headReply{}, err
	}
	block, err := parseLightBlock(raw)
	if err != nil {
		return headReply{}, err
	}
	return viewed(src, func(s *ledger.State) (headReply, error) {
		// A header has the AppHash after the height before it.
		h, err := s.HeadAt(block.Height - 1)
		if err != nil {
			return headReply{}, err
		}
		r := headReply{Block: raw, Head: headOf(h)}
		if q.From >= 1 && q.From < h.Size {
			r.Consistency, err = s.Consistency(q.From, h.Size)
		}
		return r, err
	})
}

func serveEntries(s *ledger.State, q entriesRequest) (entriesReply, error) {
	if q.Count < 1 || q.Count > MaxEntries || q.Size <= q.From {
		return entriesReply{}, fmt.Errorf("%w: %d entries from %d of %d", ledger.ErrMalformed, q.Count, q.From, q.Size)
	}
	var indices []uint64
	for i := range min(q.Count, q.Size-q.From) {
		indices = append(indices, q.From+i)
	}
	return proveAll(s, indices, q.Size)
}

func serveTrail(s *ledger.State, q trailRequest) (entriesReply, error) {
	if q.Count < 1 || q.Count > MaxEntries || q.Size <= q.From {
		return entriesReply{}, fmt.Errorf("%w: %d entries from %d of %d", ledger.ErrMalformed, q.Count, q.From, q.Size)
	}
	indices, err := s.Trail(q.Key, q.From, int(q.Count))
	if err != nil {
		return entriesReply{}, err
	}
	return proveAll(s, indices, q.Size)
}

// proveAll returns entries with their proofs, as many as a reply holds.
func proveAll(s *ledger.State, indices []uint64, size uint64) (entriesReply, error) {
	var r entriesReply
	length := 0
	for _, index := range indices {
		p, err := prove(s, index, size)
		if err != nil {
			return entriesReply{}, err
		}
		if length += len(p.Leaf) + 34*len(p.Path) + 16; length > MaxReply*3/4 {
			break
		}
		r.Entries = append(r.Entries, p)
	}
	return r, nil
}

func serveFind(s *ledger.State, q findRequest) (findReply, error) {
	b, err := s.Block(q.ID)
	if err != nil {
		return findReply{}, err
	}
	var r findReply
	announced, outcome := b.Latest, b.Latest.Decision
	if b.Certified && (b.Latest.Index < b.Index || b.Latest.Status == ledger.Certified) {
		outcome = b.Index
		r.Until = b.Until.UnixMilli()
		if announced, err = s.Announcement(b.Certificate.Outcome.Announcement); err != nil {
			return findReply{}, err
		}
	}
	if announced.Index >= q.Size || outcome >= q.Size {
		return findReply{}, errAhead
	}
	r.Power, r.Total = announced.Power, announced.Total
	if r.Announcement, err = prove(s, announced.Index, q.Size); err != nil {
		return findReply{}, err
	}
	if outcome != 0 {
		p, err := prove(s, outcome, q.Size)
		if err != nil {
			return findReply{}, err
		}
		r.Outcome = []proven{p}
	}
	return r, nil
}

// prove returns an entry with its proof for a size of the log.
func prove(s *ledger.State, index, size uint64) (proven, error) {
	leaf, err := s.Leaf(index)
	if err != nil {
		return proven{}, err
	}
	path, err := s.Inclusion(index, size)
	return proven{Index: index, Leaf: leaf, Path: path}, err
}
