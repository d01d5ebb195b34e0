package node

import (
	"context"
	"time"

	"granary/erasure"
	"granary/sampling"
)

// schedule says when to ask for the rows of a test again.
type schedule struct {
	round     time.Duration // the network's retry round
	graceTime time.Duration // the network's grace
}

func (n *Node) schedule() schedule {
	p := n.cfg.Genesis.Params
	return schedule{p.RetryRound, p.SamplingGrace}
}

// next is when to test again what began at a time and was tested so many times.
// A test has a second round of its own after one retry round; the next follow
// after 10 of them and then every 120. Where the round is 30 s, as in all but
// devnets, rows are thus asked for at once and after 30 s, 5 min, and 1 h.
func (s schedule) next(began time.Time, tries int, v Verified) time.Time {
	next := began.Add(10 * s.round)
	if tries > 1 {
		next = began.Add(time.Duration(tries-1) * 120 * s.round)
	}
	if v.Reason == sampling.TooEarly {
		return later(time.Now(), s.graceEnds(v.Info, v.Found.Outcome.Time))
	}
	return later(next, time.Now().Add(s.round))
}

// gracePerGrace is how many bytes of content double the network's grace: at
// its default of 10 s they come to 13 Mbit/s, two thirds of a home's uplink.
const gracePerGrace = 16 << 20

// graceEnds is until when a block may still be on its way to its holders: the
// network's grace from its certificate on, and as much again for every 16 MiB.
func (s schedule) graceEnds(info erasure.Info, certified time.Time) time.Time {
	return certified.Add(s.grace(info.Length))
}

func (s schedule) grace(length int64) time.Duration {
	return s.graceTime + time.Duration(float64(s.graceTime)*float64(length)/gracePerGrace)
}

// repeat tests until the verdict is final, an error, or the next test would
// begin after so long. waiting is told each verdict that is not the last, and
// when the next test begins. Took is then the time from the first test on.
func (s schedule) repeat(ctx context.Context, wait time.Duration, test func(try int) (Verified, error), waiting func(Verified, time.Time)) (Verified, error) {
	began := time.Now()
	for try := 1; ; try++ {
		v, err := test(try)
		if err != nil {
			return v, err
		}
		next := s.next(began, try, v)
		if v.Final() || ctx.Err() != nil || next.After(began.Add(wait)) {
			v.Took = time.Since(began)
			return v, nil
		}
		waiting(v, next)
		if !sleepUntil(ctx, next) {
			return v, ctx.Err()
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sleepUntil waits, and reports whether ctx lasted.
func sleepUntil(ctx context.Context, t time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Until(t)):
		return ctx.Err() == nil
	}
}
