package swarm

import (
	"context"
	"fmt"
	"time"

	"granary/erasure"
	"granary/swarm/internal/plan"
)

// lookEvery is how often a fetch looks at its peers again. A look at 50 peers takes
// about 0.1 ms.
const lookEvery = 100 * time.Millisecond

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
