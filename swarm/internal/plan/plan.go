// Package plan chooses which pieces of a block to fetch next, so that any k of
// its 2k rows come together with as few bytes and as little waiting as the
// connected peers allow.
//
// It is pure: no clock, no I/O, no randomness of its own. Package swarm looks
// at the peers, asks for a choice a few times a second, and wants exactly the
// pieces chosen.
package plan

import (
	"cmp"
	"slices"

	"granary/erasure"
)

// State is what a choice depends on. All sets have room for the pieces of
// Geometry; the zero PieceSet stands for an empty one.
type State struct {
	Geometry erasure.Geometry
	Need     int              // rows to end with, those of Held included
	Held     erasure.PieceSet // stored, or verified and on the way to the store
	Refused  erasure.PieceSet // never to be asked for again
	Wanted   erasure.PieceSet // chosen last time
	Started  erasure.PieceSet // some of it has arrived or is on its way
	Stuck    erasure.PieceSet // wanted for long, and only busy peers could send it
	Peers    []Peer           // those connected
	Salt     uint64           // breaks ties, so that many who fetch at once differ
}

// Peer is one connected peer.
type Peer struct {
	Has  erasure.PieceSet
	Idle bool // it would send at once and is asked for nothing

	Fetches bool // it is after the same rows, of the same peers
}

// How eagerly a piece is taken, best first.
const (
	started    = iota // its bytes are half paid for
	content           // needs no decoding
	kept              // parity wanted already: a choice should not flutter
	parity            // as good, once decoded
	source            // nobody has it who also fetches: it is best got once and shared
	stuck             // if nobody idle has anything else
	reserve           // parity of busy peers, when a stuck piece waits for better
	unoffered         // nobody has it now; wanted so that whoever comes with it is asked
	lastResort        // the same, and parity
)

// sourceAhead is how many rows of rank source are wanted at once, in at least
// piecesAhead pieces: what a fast source sends between two choices. The engine
// looks through all that is wanted again and again.
const (
	sourceAhead = 256
	piecesAhead = 64
)

type candidate struct {
	piece, rows  int
	rank, offers int
	tie          uint64
}

// Choose returns the pieces to want now: none that are held or refused, with
// just enough rows to reach Need together with Held, or all there are.
//
// Started pieces are kept; then come content pieces that somebody has, then
// parity pieces, those wanted already before others, and the rarest first
// within each. A stuck piece gives way to a parity piece that an idle peer
// has. Pieces nobody has fill the rest.
//
// While others fetch as well, what they have comes before what only a source
// has, and of a source parity is as good as content: each fetcher gets something
// else of it, any k rows of which complete all of them. Of these only some are
// wanted at once.
func (s State) Choose() erasure.PieceSet {
	g := s.Geometry
	want := erasure.NewPieceSet(g.Pieces())
	candidates := s.candidates()
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.offers, b.offers), cmp.Compare(a.tie, b.tie))
	})
	missing := s.Need - g.RowsIn(s.Held)
	ahead := max(sourceAhead, piecesAhead*g.PieceRows())
	for i, c := range candidates {
		if missing <= 0 || c.rank == source && ahead <= 0 {
			candidates = candidates[:i]
			break
		}
		if c.rank == source {
			ahead -= c.rows
		}
		want.Add(c.piece)
		missing -= c.rows
	}
	// Pieces differ in rows only at the end of a file; what the last choice
	// overshot may make a smaller, later piece needless.
	for _, c := range slices.Backward(candidates) {
		if c.rank != started && missing+c.rows <= 0 {
			want.Remove(c.piece)
			missing += c.rows
		}
	}
	return want
}

func (s State) candidates() []candidate {
	g := s.Geometry
	offers, idle := make([]int, g.Pieces()), make([]bool, g.Pieces())
	out, crowd := make([]bool, g.Pieces()), false
	for _, peer := range s.Peers {
		crowd = crowd || peer.Fetches
		for p := range peer.Has.All() {
			offers[p]++
			idle[p] = idle[p] || peer.Idle
			out[p] = out[p] || peer.Fetches
		}
	}
	anyStuck := s.Stuck.Count() > 0
	list := make([]candidate, 0, g.Pieces())
	for p := range g.Pieces() {
		if s.Held.Has(p) || s.Refused.Has(p) {
			continue
		}
		_, rows := g.PieceSpan(p)
		c := candidate{piece: p, rows: rows, offers: offers[p], tie: mix(s.Salt + uint64(p))}
		isParity := p >= g.FilePieces()
		switch {
		case offers[p] == 0 && isParity:
			c.rank = lastResort
		case offers[p] == 0:
			c.rank = unoffered
		case s.Stuck.Has(p):
			c.rank = stuck
		case s.Started.Has(p):
			c.rank = started
		case crowd && !out[p]:
			c.rank = source
			if s.Wanted.Has(p) {
				c.offers = 0 // a choice should not flutter
			}
		case !isParity:
			c.rank = content
		case s.Wanted.Has(p):
			c.rank = kept
		case anyStuck && !idle[p]:
			c.rank = reserve
		default:
			c.rank = parity
		}
		list = append(list, c)
	}
	return list
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): near
// numbers come out far apart.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
