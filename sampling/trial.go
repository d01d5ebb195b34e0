package sampling

import (
	"context"
	"sync/atomic"
	"time"

	"granary/erasure"
)

// patience is how long no row may end in any way before those under way count
// as missing for the time being, and others are asked for.
const patience = 1500 * time.Millisecond

// trial asks for rows of one block, in a fixed order. What is not said to be
// shared belongs to the goroutine that calls round.
type trial struct {
	sampler  *Sampler
	id       erasure.ID
	g        erasure.Geometry
	verifier *erasure.Verifier
	stages   []erasure.Stage // the ways to pass, each of rows in front
	among    map[Holder]bool // asks only these; nil: all

	// whole says that the rows are wanted themselves: no more are asked for
	// than the last stage lacks.
	whole bool

	// keep is given every verified row, and owns it; nil: it is dropped.
	keep func(row int, data []byte) error

	book     *book        // shared with the requests
	requests atomic.Int64 // under way
	latest   atomic.Int64 // when a row was verified last, in ns of Unix time

	probes   []*probe // in the order in which they are asked for
	verified int      // of them
	unclean  bool     // a row stands under the roots and not in the code
}

// round asks for the rows that are not verified yet, as many as it takes to
// pass: those of a later stage only when too many of an earlier one are missing
// in this round, or lag. The first round asks for the rows of all stages even
// when no stage can be passed any more, so that each row missing in the end was
// asked for twice. It returns the error of keep, and nil when ctx ends.
func (t *trial) round(ctx context.Context, round int) error {
	ctx, decide := context.WithCancel(ctx)
	defer decide()
	t.book.begin()
	type result struct {
		*probe
		cause Cause
	}
	done := make(chan result)
	quiet := time.NewTimer(patience)
	defer quiet.Stop()
	var next, running, lagging, missing int
	var failed error
	for {
		for ctx.Err() == nil && next < t.reach(round, missing+lagging) && t.room(running, lagging) {
			p := t.probes[next]
			next++
			if p.cause == Verified {
				continue
			}
			running++
			go func() { done <- result{p, t.ask(ctx, round, p)} }()
		}
		if running == 0 {
			return failed
		}
		select {
		case p := <-done:
			running--
			lagging = 0
			quiet.Reset(patience)
			p.probe.cause = p.cause
			switch p.cause {
			case Verified:
				t.verified++
				if t.keep != nil && failed == nil {
					failed = t.keep(p.row, p.data)
				}
				p.data = nil
			case BadCombination:
				t.unclean = true
			default:
				missing++
			}
			if t.passed() || t.unclean || failed != nil {
				decide()
			}
		case <-quiet.C:
			lagging = running
		}
	}
}

// reach is how many rows in front may be asked for by now in this round.
func (t *trial) reach(round, missing int) int {
	for _, s := range t.stages {
		if missing <= s.Tolerate {
			return s.Rows
		}
	}
	if round == 0 {
		return len(t.probes)
	}
	return 0
}

// room reports whether one more row can be asked for at once.
func (t *trial) room(running, lagging int) bool {
	if t.whole && t.verified+running-lagging >= t.need() {
		return false
	}
	return running < t.sampler.cfg.Concurrency
}

// last is the stage that tolerates most.
func (t *trial) last() erasure.Stage { return t.stages[len(t.stages)-1] }

// need is how many verified rows always suffice to pass.
func (t *trial) need() int { return t.last().Rows - t.last().Tolerate }

// passed reports whether a stage has its rows.
func (t *trial) passed() bool {
	if t.verified >= t.need() {
		return true
	}
	for _, s := range t.stages[:len(t.stages)-1] {
		missing := 0
		for _, p := range t.probes[:s.Rows] {
			if p.cause != Verified {
				missing++
			}
		}
		if missing <= s.Tolerate {
			return true
		}
	}
	return false
}

// missing returns the rows that were asked for and are not verified.
func (t *trial) missing() []*probe {
	var missing []*probe
	for _, p := range t.probes {
		if p.rounds > 0 && p.cause != Verified {
			missing = append(missing, p)
		}
	}
	return missing
}

// received is how many bytes were handed over in all.
func (t *trial) received() int64 {
	var n int64
	for _, p := range t.probes {
		n += p.bytes
	}
	return n
}
