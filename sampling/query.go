package sampling

import (
	"context"
	"errors"
	"time"

	"granary/erasure"
)

const (
	// maxHolders is how many holders are asked for one row in one round. If
	// each fails with probability 0.65, all 24 do with 3·10^-5.
	maxHolders = 24

	// busyLaps is how often holders that were busy are asked again when nobody
	// else is left, with a pause before each time.
	busyLaps = 3

	// maxWaves bounds how often the number of holders asked at once doubles: to
	// eight.
	maxWaves = 3
)

// probe is one row that is asked for.
type probe struct {
	row    int
	known  []Holder // whom to ask; set by trial.ask unless it is fixed
	fixed  bool
	rounds int              // in which it was asked for
	cause  Cause            // of the latest round; empty before the first. Set by trial.round alone
	asked  map[Holder]Cause // how the latest round's requests for it ended
	data   []byte           // the verified row, until it is kept
	bytes  int64            // handed over for it, in all
}

// query asks for one row in one round: one holder after the other, and several
// at once when they are slow, until one of them hands it over.
type query struct {
	*trial
	*probe
	before  map[Holder]Cause // whom the round before asked
	left    []Holder         // whom to ask yet
	again   []Holder         // whom to ask again, because they were busy
	laps    int              // times that again has become left
	running int              // requests under way
	waves   int              // times that nobody answered when others do
	last    Holder           // whom the latest of them went to; empty once that is noted as late
}

// answer is how one request ended.
type answer struct {
	holder Holder
	cause  Cause
	data   []byte
	bytes  int64
	took   time.Duration
}

// ask asks for p, and returns when it was handed over verified, everybody was
// asked, or time is up: the cause that p is to have.
func (t *trial) ask(ctx context.Context, round int, p *probe) Cause {
	if !p.fixed {
		p.known = t.candidates(ctx, p.row, round)
	}
	q := &query{trial: t, probe: p, before: p.asked, left: p.known}
	p.rounds++
	p.asked = make(map[Holder]Cause)
	q.run(ctx)

	cause := NoHolder
	if ctx.Err() != nil {
		cause = NotAwaited
	}
	for _, c := range p.asked {
		if c.before(cause) {
			cause = c
		}
	}
	return cause
}

// candidates returns the distinct peers to ask for a row, best first.
func (t *trial) candidates(ctx context.Context, row, round int) []Holder {
	var chosen []Holder
	seen := make(map[Holder]bool)
	for _, h := range t.sampler.holders.For(ctx, t.id, t.g.PieceOf(row), round) {
		if seen[h] || t.among != nil && !t.among[h] {
			continue
		}
		seen[h] = true
		if chosen = append(chosen, h); len(chosen) == maxHolders {
			break
		}
	}
	return chosen
}

func (q *query) run(parent context.Context) {
	ctx, cancel := context.WithTimeout(parent, q.sampler.cfg.RowTimeout)
	defer cancel()
	answers := make(chan answer)
	request := func(h Holder) {
		q.running++
		q.requests.Add(1)
		q.last = h
		go func() { answers <- q.fetch(ctx, parent, h) }()
	}
	wait, more := q.next(request)
	hedge := time.NewTimer(wait)
	defer hedge.Stop()
	for ended, settled := ctx.Done(), false; more; hedge.Reset(wait) {
		select {
		case <-hedge.C:
			if q.running > 0 && q.last != "" {
				q.book.late(q.last)
				q.last = ""
				q.waves++
			}
		case a := <-answers:
			q.running--
			q.requests.Add(-1)
			q.bytes += a.bytes
			// Once the row is there, what else comes is a second copy or was
			// broken off, and says nothing about who sent it.
			if !settled {
				settled = q.take(a)
			}
			if settled {
				cancel()
			}
		case <-ended:
			ended = nil // what is under way ends now, and is waited for
		}
		if ctx.Err() == nil {
			wait, more = q.next(request)
		} else {
			more = q.running > 0
		}
	}
}

// take notes an answer, and reports whether it settles the row.
func (q *query) take(a answer) bool {
	q.book.note(a.holder, a.cause, a.took)
	q.asked[a.holder] = a.cause
	switch a.cause {
	case Verified:
		q.data = a.data
		q.sampler.pace.add(a.took)
		q.latest.Store(time.Now().UnixNano())
		return true
	case BadCombination: // no other row can stand in its place
		return true
	case Busy, Pending:
		q.again = append(q.again, a.holder)
	}
	return false
}

// next makes a request, if there is one to make now, and returns when to try
// the next. more is false if there is nothing left to wait for.
func (q *query) next(request func(Holder)) (wait time.Duration, more bool) {
	wait = q.sampler.pace.hedge()
	// While rows keep coming, those that lag may be waiting for the line and
	// not for their holders, and a second copy would only fill it more.
	flowing := time.Since(time.Unix(0, q.latest.Load())) < wait/2
	switch alone := q.running == 0; {
	case len(q.left) == 0:
	case !alone && flowing:
		return wait / 2, true
	default:
		q.widen(request)
	}
	if q.running > 0 || len(q.left) > 0 {
		return wait, true
	}
	if len(q.again) == 0 || q.laps == busyLaps {
		return 0, false
	}
	q.left, q.again = q.again, nil
	q.laps++
	return wait, true
}

// widen asks one more holder, or twice as many as the time before when nobody
// answers: among dead ones, one after the other takes too long.
func (q *query) widen(request func(Holder)) {
	for range 1 << min(max(q.waves-1, 0), maxWaves) {
		if q.running > 0 && q.requests.Load() >= 2*int64(q.sampler.cfg.Concurrency) {
			return
		}
		h, rest, ok := q.book.pick(q.left, q.before, q.asked)
		q.left = rest
		if !ok {
			return
		}
		request(h)
	}
}

// fetch makes one request and verifies what it brings.
func (q *query) fetch(ctx, parent context.Context, h Holder) answer {
	begun := time.Now()
	data, path, err := q.sampler.fetcher.Row(ctx, h, q.id, q.row)
	a := answer{
		holder: h,
		data:   data,
		bytes:  int64(len(data)) + int64(len(path))*int64(len(erasure.Root{})),
		took:   time.Since(begun),
	}
	if err == nil {
		err = q.verifier.Row(q.row, data, path)
	}
	a.cause = causeOf(err)
	if ended := ctx.Err() != nil; ended && !a.cause.answered() {
		a.cause = Timeout
		if parent.Err() != nil {
			a.cause = NotAwaited
		}
	}
	return a
}

// causeOf classifies the error of a request or of the row it brought.
func causeOf(err error) Cause {
	var bad *erasure.RowError
	switch {
	case err == nil:
		return Verified
	case errors.As(err, &bad) && bad.Reason == "combination":
		return BadCombination
	case errors.As(err, &bad) && bad.Reason == "path":
		return BadPath
	case errors.As(err, &bad):
		return BadLength
	case errors.Is(err, ErrProtocol):
		return BadProtocol
	case errors.Is(err, ErrPending):
		return Pending
	case errors.Is(err, ErrBusy):
		return Busy
	case errors.Is(err, ErrNotHeld):
		return NotHeld
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	default:
		return Unreachable
	}
}
