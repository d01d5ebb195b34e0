package kad

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// takes is a dial that comes through after so long.
func takes(long time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(long):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// timed dials p, which takes so long, and says how long it was waited for.
func timed(ctx context.Context, d *dials, p peer.ID, long time.Duration) (time.Duration, error) {
	began := time.Now()
	err := d.try(ctx, p, takes(long))
	return time.Since(began), err
}

func TestDialsAreGivenUpWhenOthersWouldBeThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, ctx := newDials(), t.Context()
		if took, err := timed(ctx, d, "dead", time.Hour); err == nil || took != dialTimeout {
			t.Errorf("the first dial: %v after %v, want an error after %v", err, took, dialTimeout)
		}
		for i := range dialWindow + 4 {
			if _, err := timed(ctx, d, peer.ID(fmt.Sprint(i)), 225*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range []time.Duration{900 * time.Millisecond, dialTimeout} {
			if took, err := timed(ctx, d, "dead too", time.Hour); err == nil || took != want {
				t.Errorf("a dial when others take 225 ms: %v after %v, want an error after %v", err, took, want)
			}
		}
		if took, err := timed(ctx, d, "dead too", 0); !errors.Is(err, ErrUnreachable) || took != 0 {
			t.Errorf("a peer that was dialled in vain: %v after %v, want ErrUnreachable at once", err, took)
		}
		time.Sleep(deadFor)
		if _, err := timed(ctx, d, "dead too", 0); err != nil {
			t.Errorf("a peer that is back: %v", err)
		}
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if _, err := timed(short, d, "not awaited", time.Hour); err == nil {
			t.Error("a dial outlasted its context")
		}
		if _, err := timed(ctx, d, "not awaited", 0); err != nil {
			t.Errorf("a peer whose dial was not waited for counts as dead: %v", err)
		}
	})
}

// Peers that are slower than the first few are met at their second dial at the
// latest, and from some time on at the first; the dead change none of it.
func TestDialsOfASlowerClassComeThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const quick, behindQUIC, slow = 10 * time.Millisecond, 450 * time.Millisecond, 1200 * time.Millisecond
		d, ctx := newDials(), t.Context()
		for i := range dialWindow {
			if _, err := timed(ctx, d, peer.ID(fmt.Sprint("quick ", i)), quick); err != nil {
				t.Fatal(err)
			}
		}
		for i := range dialWindow {
			if _, err := timed(ctx, d, peer.ID(fmt.Sprint("behind QUIC ", i)), behindQUIC); err != nil {
				t.Fatalf("a peer %v away, when others are %v: %v", behindQUIC, quick, err)
			}
		}
		d = newDials()
		for i := range dialWindow {
			_, _ = timed(ctx, d, peer.ID(fmt.Sprint("quick ", i)), quick)
		}
		again := func(round int) (n int) {
			for i := range dialWindow {
				_, _ = timed(ctx, d, peer.ID(fmt.Sprint("dead ", round, i)), time.Hour)
				p := peer.ID(fmt.Sprint("slow ", round, i))
				if _, err := timed(ctx, d, p, slow); err == nil {
					continue
				}
				n++
				if _, err := timed(ctx, d, p, slow); err != nil {
					t.Fatalf("second dial of a peer %v away: %v", slow, err)
				}
			}
			return n
		}
		if again(0) == 0 {
			t.Error("no dial was given up although most take 10 ms")
		}
		if n := again(1); n > 0 {
			t.Errorf("%d dials given up early when all that live take %v", n, slow)
		}
		for i := range 2 * dialWindow {
			_, _ = timed(ctx, d, peer.ID(fmt.Sprint("quick again ", i)), quick)
			_, _ = timed(ctx, d, peer.ID(fmt.Sprint("dead again ", i)), time.Hour)
		}
		if got := d.patience(); got != minDial {
			t.Errorf("patience is %v when all that live take %v, want %v: the dead count", got, quick, minDial)
		}
	})
}

func TestDialsRememberSoManyOfTheDead(t *testing.T) {
	d := newDials()
	now := time.Now()
	for i := range deadMost + 8 {
		d.fail(peer.ID(fmt.Sprint(i)), vainDial{at: now})
	}
	if len(d.vain) != deadMost {
		t.Errorf("%d remembered, want %d", len(d.vain), deadMost)
	}
	d.fail("later", vainDial{at: now.Add(deadFor)})
	if len(d.vain) != 1 {
		t.Errorf("%d remembered when all others are stale", len(d.vain))
	}
}
