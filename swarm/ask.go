package swarm

import (
	"slices"
	"time"

	"github.com/anacrolix/torrent"

	"granary/erasure"
	"granary/swarm/internal/plan"
)

// patience is how long a wanted piece may wait of which nothing arrives: then it is
// given to an idle peer, or another piece is fetched in its place.
const patience = 2 * time.Second

// observe gathers what a choice depends on, and has the engine deal out anew
// what a busy peer sits on and an idle one has.
func (t *Torrent) observe(wanted erasure.PieceSet) plan.State {
	offers, held := t.offers(), t.held()
	t.mu.Lock()
	s := plan.State{
		Geometry: t.geo,
		Held:     held,
		Salt:     t.salt,
		Refused:  t.refused.Clone(),
		Wanted:   wanted,
		Started:  t.begun.Clone(),
	}
	t.crowd = false
	for _, o := range offers {
		for p := range o.peer.asked {
			s.Started.Add(p)
		}
		s.Peers = append(s.Peers, plan.Peer{Has: o.has, Idle: !o.peer.choked && o.peer.waiting == 0, Fetches: o.fetches})
		t.crowd = t.crowd || o.fetches
	}
	nudge := t.findStuck(s)
	s.Stuck = t.stuck.Clone()
	t.mu.Unlock()

	t.nudge(nudge)
	return s
}

// findStuck marks wanted pieces of which nothing has arrived for long although
// somebody is idle, and returns those that an idle peer has. A mark stays until
// some of the piece arrives or an idle peer has it. t.mu is held.
func (t *Torrent) findStuck(s plan.State) (nudge []int) {
	idle := erasure.NewPieceSet(t.geo.Pieces())
	for _, peer := range s.Peers {
		if peer.Idle {
			idle.Union(peer.Has)
		}
	}
	if idle.Count() == 0 {
		return nil
	}
	for p := range t.stuck.All() {
		if idle.Has(p) {
			t.stuck.Remove(p)
		}
	}
	now := time.Now()
	var fresh, asked []int
	for p, at := range t.moved {
		switch {
		case now.Sub(at) < patience || s.Held.Has(p):
		case idle.Has(p):
			nudge = append(nudge, p)
			t.moved[p] = now
		case s.Started.Has(p):
			asked = append(asked, p)
		default:
			fresh = append(fresh, p)
		}
	}
	// What was asked for may still come: it is given up last.
	if len(fresh) == 0 {
		fresh = asked
	}
	for _, p := range fresh {
		t.stuck.Add(p)
	}
	return nudge
}

// nudge makes the engine deal out pieces again: it moves requests from a busy
// peer to an idle one only when something happens, and nothing does.
func (t *Torrent) nudge(pieces []int) {
	t.applying.Lock()
	defer t.applying.Unlock()
	t.mu.Lock()
	pieces = slices.DeleteFunc(pieces, func(p int) bool { return !t.wanted.Has(p) })
	t.mu.Unlock()
	for _, p := range pieces {
		t.handle.CancelPieces(p, p+1)
	}
	for _, p := range pieces {
		t.handle.Piece(p).SetPriority(t.asking[p])
	}
}

// arrange has the engine ask for pieces in this order. Left alone it takes, of
// those that are equally rare, the lowest numbers, so that all who begin together
// ask for the same and have nothing to give each other. It knows five urgencies;
// each is for twice as many pieces as the one above.
func (t *Torrent) arrange(order []int, started erasure.PieceSet) {
	t.applying.Lock()
	defer t.applying.Unlock()
	clear(t.urgency)
	rest := slices.IndexFunc(order, func(p int) bool { return !started.Has(p) })
	if rest < 0 {
		rest = len(order)
	}
	for _, p := range order[:rest] {
		t.urgency[p] = torrent.PiecePriorityNow
	}
	order = order[rest:]
	n := (len(order) + 15) / 16
	for level := torrent.PiecePriorityNext; level > torrent.PiecePriorityNormal; level-- {
		for _, p := range order[:min(n, len(order))] {
			t.urgency[p] = level
		}
		order = order[min(n, len(order)):]
		n *= 2
	}
}

// apply tells the engine to ask for what the jobs want together, and for
// nothing else. Pieces held, on the way to the store or refused are left out:
// the engine must not fetch them should they be dropped later.
func (t *Torrent) apply() {
	t.applying.Lock()
	defer t.applying.Unlock()
	want := erasure.NewPieceSet(t.geo.Pieces())
	held := t.held()
	now := time.Now()

	t.mu.Lock()
	if t.ended {
		t.mu.Unlock()
		return
	}
	for j := range t.jobs {
		if j.err == nil {
			want.Union(j.want)
		}
	}
	var ask, drop []int
	for p := range t.geo.Pieces() {
		if held.Has(p) || t.refused.Has(p) {
			want.Remove(p)
		}
		switch {
		case want.Has(p) && !t.wanted.Has(p):
			t.moved[p] = now
		case !want.Has(p) && t.wanted.Has(p):
			drop = append(drop, p)
			delete(t.moved, p)
		}
		urgency := torrent.PiecePriorityNone
		if want.Has(p) {
			urgency = max(t.urgency[p], torrent.PiecePriorityNormal)
		}
		if urgency != t.asking[p] && want.Has(p) {
			ask = append(ask, p)
		}
		t.asking[p] = urgency
	}
	t.wanted = want
	sending := 0
	for _, p := range t.peers {
		if !p.choked {
			sending++
		}
	}
	t.share = t.geo.RowsIn(want) / max(sending, 1)
	t.mu.Unlock()

	eachRun(drop, t.handle.CancelPieces)
	for _, p := range ask {
		t.handle.Piece(p).SetPriority(t.asking[p])
	}
}

// eachRun calls f with each run begin ≤ p < end of ascending pieces.
func eachRun(pieces []int, f func(begin, end int)) {
	for i := 0; i < len(pieces); {
		end := i + 1
		for end < len(pieces) && pieces[end] == pieces[end-1]+1 {
			end++
		}
		f(pieces[i], pieces[end-1]+1)
		i = end
	}
}
