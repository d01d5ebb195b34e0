package swarm

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/anacrolix/torrent"

	"granary/erasure"
	"granary/swarm/internal/plan"
)

const (
	// How often a fetch looks at its peers again. A look at 50 peers takes
	// about 0.1 ms.
	lookEvery = 100 * time.Millisecond

	// A wanted piece of which nothing arrives for this long is given to an idle
	// peer, or another piece is fetched in its place.
	patience = 2 * time.Second
)

// job is one Fetch or FetchAny under way. Its fields are guarded by the
// Torrent's mu.
type job struct {
	want   erasure.PieceSet
	left   int           // pieces that have to arrive before it can be done
	wake   chan struct{} // it may be done
	err    error
	failed chan struct{} // closed when err is set
}

// arrived counts a piece that is held now. t.mu is held.
func (j *job) arrived() {
	if j.left--; j.left <= 0 {
		j.wakeUp()
	}
}

func (j *job) wakeUp() {
	select {
	case j.wake <- struct{}{}:
	default: // it will look anyway
	}
}

func (t *Torrent) startJob() (*job, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return nil, ErrClosed
	}
	j := &job{want: erasure.NewPieceSet(t.geo.Pieces()), wake: make(chan struct{}, 1), failed: make(chan struct{})}
	t.jobs[j] = struct{}{}
	return j, nil
}

func (t *Torrent) endJob(j *job) {
	t.mu.Lock()
	delete(t.jobs, j)
	t.mu.Unlock()
	t.apply()
	t.closeUnused()
}

// fail ends every fetch under way with err.
func (t *Torrent) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failLocked(err)
}

func (t *Torrent) failLocked(err error) {
	for j := range t.jobs {
		if j.err == nil {
			j.err = err
			close(j.failed)
		}
	}
}

// Fetch returns when the block holds all of want, and fetches nothing else. It
// returns ErrRefused if one of them was refused, the store's error if it could
// not write, ErrClosed, or the cause of ctx's end.
func (t *Torrent) Fetch(ctx context.Context, want erasure.PieceSet) error {
	if want.Cap() != t.geo.Pieces() {
		return fmt.Errorf("fetch %d pieces of %s: %w", want.Cap(), t.id.Short(), erasure.ErrPieceSet)
	}
	err := t.run(ctx, fetch{
		left: func() (n int) {
			for p := range want.All() {
				if !t.block.Has(p) {
					n++
				}
			}
			return n
		},
		choose: func(s plan.State) (erasure.PieceSet, error) {
			for p := range want.All() {
				if s.Refused.Has(p) {
					return want, t.refusedError()
				}
			}
			return want, nil
		},
	})
	if err != nil {
		return fmt.Errorf("fetch %d pieces of %s: %w", want.Count(), t.id.Short(), err)
	}
	return nil
}

// FetchAny returns when the block holds k rows, whichever they are: content
// pieces where they can be had, parity for the rest. It tells progress, if not
// nil, a few times a second and once more at the end, from the caller's
// goroutine. It returns ErrRefused if so many pieces were refused that k rows
// cannot come together, and otherwise what Fetch does.
func (t *Torrent) FetchAny(ctx context.Context, progress func(Status)) error {
	err := t.run(ctx, fetch{
		left: func() int { return (t.geo.K() - t.rows() + t.geo.PieceRows() - 1) / t.geo.PieceRows() },
		choose: func(s plan.State) (erasure.PieceSet, error) {
			if t.geo.Rows()-t.geo.RowsIn(s.Refused) < t.geo.K() {
				return s.Wanted, t.refusedError()
			}
			s.Need = t.geo.K()
			return s.Choose(), nil
		},
		look: func() {
			if progress != nil {
				progress(t.Status())
			}
		},
	})
	if err != nil {
		return fmt.Errorf("fetch %s: %w", t.id.Short(), err)
	}
	if progress != nil {
		progress(t.Status())
	}
	return nil
}

// fetch is what Fetch and FetchAny differ in.
type fetch struct {
	left   func() int                                 // how many pieces are missing at least; 0 or less: done
	choose func(plan.State) (erasure.PieceSet, error) // what to want now
	look   func()                                     // called every lookEvery; may be nil
}

func (t *Torrent) run(ctx context.Context, f fetch) error {
	j, err := t.startJob()
	if err != nil {
		return err
	}
	defer t.endJob(j)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for look := true; ; {
		if t.count(j, f.left) {
			return nil
		}
		if look {
			s := t.observe(j.want)
			want, err := f.choose(s)
			if err != nil {
				return err
			}
			t.mu.Lock()
			j.want = want
			t.mu.Unlock()
			t.arrange(s.Order(want), s.Started)
			t.apply()
			t.redial()
			t.dropStalled()
			if f.look != nil {
				f.look()
			}
		}
		look = false
		select {
		case <-j.wake:
		case <-ticker.C:
			look = true
		case <-j.failed:
			return j.err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// count reports whether j is done, and has it woken when it may be. A piece that
// arrives meanwhile may be counted twice: then it is woken too early.
func (t *Torrent) count(j *job, left func() int) (done bool) {
	t.mu.Lock()
	j.left = 0
	t.mu.Unlock()
	n := left()
	t.mu.Lock()
	j.left += n
	t.mu.Unlock()
	return n <= 0
}

// refusedError says that pieces were refused, and why the last of them was.
func (t *Torrent) refusedError() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Errorf("%d pieces: %w: %w", t.refused.Count(), ErrRefused, t.refusal)
}

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
