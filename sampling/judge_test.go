package sampling_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"granary/erasure"
	"granary/sampling"
)

// expect fails the test unless the verdict has this state and reason.
func expect(t testing.TB, v sampling.Verdict, state sampling.State, reason sampling.Reason) {
	t.Helper()
	check(t, v)
	if v.State != state || v.Reason != reason {
		t.Fatalf("%v, want %s (%s)\ncauses %v", v, state, reason, tally(v))
	}
}

// tally counts the causes of a verdict.
func tally(v sampling.Verdict) map[sampling.Cause]int {
	n := make(map[sampling.Cause]int)
	for _, c := range v.Causes {
		n[c]++
	}
	return n
}

func TestServedBlockIsAvailableFromAsManyHoldersAsRows(t *testing.T) {
	b := newBlock(t, 600, 1)
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(200, b)
		net.deny = func(ctx context.Context, _ request) error { return after(ctx, 100*time.Millisecond) }
		v := judge(t, net, fresh(b), nil)
		expect(t, v, sampling.Available, "")
		want := erasure.NewPlan(600, 20).Stages[0].Rows
		if v.Rows != want || v.Missing != 0 || v.Bits != 20 || v.Serving < want-3 {
			t.Errorf("%v: %d rows of %d holders, want %d", v, v.Rows, v.Serving, want)
		}
		if v.Bytes != int64(want)*b.rowBytes() {
			t.Errorf("%d bytes, want %d", v.Bytes, int64(want)*b.rowBytes())
		}
		if v.Took != 300*time.Millisecond { // 50 rows, 24 at once
			t.Errorf("took %v of virtual time", v.Took)
		}
	})
}

func TestRowsAreDrawnOnceAndAskedInOrder(t *testing.T) {
	b := newBlock(t, 600, 1)
	draw, err := erasure.Draw(600, 300)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(10, b)
		net.deny = func(_ context.Context, _ request) error { return sampling.ErrNotHeld }
		target := fresh(b)
		target.Draw = draw
		v := judge(t, net, target, nil)
		expect(t, v, sampling.Inconclusive, sampling.NoControl)
		want := slices.Sorted(slices.Values(draw[:erasure.NewPlan(600, 20).Rows()]))
		if got := slices.Sorted(maps.Keys(net.asked(b.id))); !slices.Equal(got, want) {
			t.Errorf("asked for rows %v, want those of the plan %v", got, want)
		}
		if !slices.Equal(v.Draw, draw) {
			t.Error("the verdict has another draw")
		}
		// Two rounds of ten holders each; the second may end early.
		for row, times := range net.asked(b.id) {
			if times < 10 || times > 20 {
				t.Errorf("row %d was asked for %d times", row, times)
			}
		}
	})
	net := newNetwork(10, b)
	first, second := judge(t, net, fresh(b), nil), judge(t, net, fresh(b), nil)
	if slices.Equal(first.Draw, second.Draw) {
		t.Error("two tests drew the same rows")
	}
	if got := len(net.asked(b.id)); got <= first.Rows {
		t.Errorf("two tests asked for %d rows in all", got)
	}
}

func TestVerdictsOnMissingRows(t *testing.T) {
	big, small, control := newBlock(t, 600, 1), newBlock(t, 40, 2), newBlock(t, 70, 3)
	type trap func(ctx context.Context, r request) error
	notControl := func(f trap) trap {
		return func(ctx context.Context, r request) error {
			if r.id == control.id {
				return nil
			}
			return f(ctx, r)
		}
	}
	answer := func(err error) trap { return func(context.Context, request) error { return err } }
	silence := func(ctx context.Context, _ request) error { return after(ctx, time.Hour) }
	now := func(*sampling.Target) {}
	for _, c := range []struct {
		name    string
		deny    trap
		target  func(*sampling.Target)
		control *erasure.Bundle
		state   sampling.State
		reason  sampling.Reason
		cause   sampling.Cause // that the rows have; of silent holders some do
	}{
		{"not held, control served", notControl(answer(sampling.ErrNotHeld)), now, &control.bundle, sampling.Unavailable, sampling.Withheld, sampling.NotHeld},
		{"silent, control served", notControl(silence), now, &control.bundle, sampling.Unavailable, sampling.Withheld, sampling.Timeout},
		{"unreachable for it, control served", notControl(answer(errUnreachable)), now, &control.bundle, sampling.Unavailable, sampling.Withheld, sampling.Unreachable},
		{"malformed, control served", notControl(answer(sampling.ErrProtocol)), now, &control.bundle, sampling.Unavailable, sampling.Withheld, sampling.BadProtocol},
		{"busy, control served", notControl(answer(sampling.ErrBusy)), now, &control.bundle, sampling.Inconclusive, sampling.TooFewAnswers, sampling.Busy},
		{"pending, control served", notControl(answer(sampling.ErrPending)), now, &control.bundle, sampling.Inconclusive, sampling.TooFewAnswers, sampling.Pending},
		{"control not held either", answer(sampling.ErrNotHeld), now, &control.bundle, sampling.Inconclusive, sampling.ControlMissing, sampling.NotHeld},
		{"all silent", silence, now, &control.bundle, sampling.Inconclusive, sampling.NobodyAnswered, sampling.Timeout},
		{"all unreachable", answer(errUnreachable), now, &control.bundle, sampling.Inconclusive, sampling.NobodyAnswered, sampling.Unreachable},
		{"all unreachable, no control", answer(errUnreachable), now, nil, sampling.Inconclusive, sampling.NobodyAnswered, sampling.Unreachable},
		{"all unreachable, stale head", answer(errUnreachable), func(t *sampling.Target) { t.Fresh = false }, &control.bundle, sampling.Inconclusive, sampling.NobodyAnswered, sampling.Unreachable},
		{"no control", notControl(answer(sampling.ErrNotHeld)), now, nil, sampling.Inconclusive, sampling.NoControl, sampling.NotHeld},
		{"stale head", notControl(answer(sampling.ErrNotHeld)), func(t *sampling.Target) { t.Fresh = false }, &control.bundle, sampling.Inconclusive, sampling.HeadStale, sampling.NotHeld},
		{"within grace", notControl(answer(sampling.ErrNotHeld)), func(t *sampling.Target) { t.Announced, t.Grace = time.Now(), time.Millisecond }, &control.bundle, sampling.Inconclusive, sampling.TooEarly, sampling.NotHeld},
		{"past grace", notControl(answer(sampling.ErrNotHeld)), func(t *sampling.Target) { t.Announced, t.Grace = time.Now().Add(-time.Minute), time.Minute }, &control.bundle, sampling.Unavailable, sampling.Withheld, sampling.NotHeld},
	} {
		for _, b := range []*block{big, small} {
			t.Run(fmt.Sprintf("%s, k %d", c.name, b.g.K()), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					net := newNetwork(30, b, control)
					net.deny = c.deny
					target := fresh(b)
					c.target(&target)
					v := judge(t, net, target, c.control)
					expect(t, v, c.state, c.reason)
					if tally(v)[c.cause] == 0 || v.Verified != 0 {
						t.Errorf("%v: causes %v", v, tally(v))
					}
					if v.Took > 75*time.Second {
						t.Errorf("took %v", v.Took)
					}
					if c.state == sampling.Unavailable && (v.Control.Verified != 8 || v.Control.ID != control.id) {
						t.Errorf("control %+v", v.Control)
					}
				})
			})
		}
	}
}

// nobody knows no holders.
type nobody struct{}

func (nobody) For(context.Context, erasure.ID, int, int) []sampling.Holder { return nil }

func TestWithoutHoldersTheVerdictIsInconclusive(t *testing.T) {
	b, control := newBlock(t, 600, 1), newBlock(t, 70, 3)
	synctest.Test(t, func(t *testing.T) {
		v, err := sampling.New(newNetwork(1, b), nobody{}, sampling.Config{}).Judge(t.Context(), fresh(b), against(&control.bundle))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, v, sampling.Inconclusive, sampling.NoHolders)
		if tally(v)[sampling.NoHolder] != v.Rows {
			t.Errorf("causes %v", tally(v))
		}
	})
}

// Every row of the target has one live holder that does not have it, but the
// control is asked of others: it shows nothing about these.
func TestControlGoesThroughTheHoldersOfTheMissingRows(t *testing.T) {
	b, control := newBlock(t, 600, 1), newBlock(t, 70, 3)
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(40, b, control)
		half := func(r request) bool { return r.holder < net.peers[20] }
		net.deny = func(_ context.Context, r request) error {
			if half(r) {
				return sampling.ErrNotHeld
			}
			return nil
		}
		holders := holdersFunc(func(id erasure.ID, piece, _ int) []sampling.Holder {
			if id == b.id {
				return net.peers[:20]
			}
			return net.peers[20:]
		})
		v, err := sampling.New(net, holders, sampling.Config{}).Judge(t.Context(), fresh(b), against(&control.bundle))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, v, sampling.Inconclusive, sampling.ControlMissing)
		if len(net.asked(control.id)) != 0 {
			t.Errorf("control was asked of other holders")
		}
	})
}

type holdersFunc func(id erasure.ID, piece, round int) []sampling.Holder

func (f holdersFunc) For(_ context.Context, id erasure.ID, piece, round int) []sampling.Holder {
	return f(id, piece, round)
}

// Behind a broken line some holders serve, and most cannot be reached: what is
// missing is not being withheld.
func TestUnreachableHoldersAreNoWithholding(t *testing.T) {
	b, control := newBlock(t, 600, 1), newBlock(t, 600, 3)
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(80, b, control)
		net.deny = func(ctx context.Context, r request) error {
			if r.holder >= net.peers[40] {
				return after(ctx, time.Hour)
			}
			return nil
		}
		one := holdersFunc(func(_ erasure.ID, piece, _ int) []sampling.Holder { return []sampling.Holder{net.peers[piece%80]} })
		v, err := sampling.New(net, one, sampling.Config{}).Judge(t.Context(), fresh(b), against(&control.bundle))
		if err != nil {
			t.Fatal(err)
		}
		if v.State != sampling.Inconclusive {
			t.Fatal(v)
		}
	})
}

func TestSecondRoundFindsFreshHolders(t *testing.T) {
	b := newBlock(t, 600, 1)
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(20, b)
		net.deny = func(_ context.Context, r request) error {
			if r.holder < net.peers[10] {
				return sampling.ErrNotHeld
			}
			return nil
		}
		holders := holdersFunc(func(_ erasure.ID, _, round int) []sampling.Holder { return net.peers[:10+10*round] })
		v, err := sampling.New(net, holders, sampling.Config{RetryRound: time.Second}).Judge(t.Context(), fresh(b), nil)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, v, sampling.Available, "")
		if v.Took != time.Second {
			t.Errorf("took %v", v.Took)
		}
		// In the second round those who said no are not asked first.
		if again := len(net.requests) - 10*v.Rows; again > v.Rows {
			t.Errorf("%d requests in the second round for %d rows", again, v.Rows)
		}
	})
}

func TestBusyHolderIsAskedAgain(t *testing.T) {
	b := newBlock(t, 600, 1)
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(1, b)
		times := make(map[int]int)
		net.deny = func(_ context.Context, r request) error {
			net.mu.Lock()
			defer net.mu.Unlock()
			if times[r.row]++; times[r.row] < 3 {
				return sampling.ErrBusy
			}
			return nil
		}
		v := judge(t, net, fresh(b), nil)
		expect(t, v, sampling.Available, "")
		if v.Took > 10*time.Second {
			t.Errorf("took %v", v.Took)
		}
	})
}
