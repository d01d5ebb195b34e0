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

func testDials(ctx context.Context) *dials {
	h := new(Host)
	h.ctx, h.cancel = context.WithCancel(ctx)
	return newDials(h)
}

// known makes d one that has dialled many peers that took so long.
func (d *dials) known(t *testing.T, long time.Duration) {
	t.Helper()
	for i := range dialWindow {
		if _, err := timed(t.Context(), d, peer.ID(fmt.Sprint(long, i)), long); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDialsAreNotWaitedForWhenOthersWouldBeThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, ctx := testDials(t.Context()), t.Context()
		if took, err := timed(ctx, d, "dead", time.Hour); err == nil || took != dialTimeout {
			t.Errorf("the first dial: %v after %v, want an error after %v", err, took, dialTimeout)
		}
		d.known(t, 225*time.Millisecond)
		if took, err := timed(ctx, d, "dead too", time.Hour); err == nil || took != 900*time.Millisecond {
			t.Errorf("a dial when others take 225 ms: %v after %v, want an error after 900 ms", err, took)
		}
		time.Sleep(dialTimeout)
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

// Peers that are slower than the first few come through all the same, and from
// some time on they are waited for; the dead change none of it.
func TestDialsOfASlowerClassComeThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const quick, slow = 10 * time.Millisecond, 1200 * time.Millisecond
		d, ctx := testDials(t.Context()), t.Context()
		d.known(t, quick)
		through := make(chan struct{})
		if err := d.try(ctx, "slow", func(ctx context.Context) error {
			defer close(through)
			return takes(slow)(ctx)
		}); !errors.Is(err, ErrUnreachable) {
			t.Errorf("a peer %v away when others are %v: %v, want ErrUnreachable", slow, quick, err)
		}
		<-through
		if _, err := timed(ctx, d, "slow", 0); err != nil {
			t.Errorf("a peer that came through late counts as dead: %v", err)
		}
		for i := range dialWindow {
			_, _ = timed(ctx, d, peer.ID(fmt.Sprint("dead ", i)), time.Hour)
			_, _ = timed(ctx, d, peer.ID(fmt.Sprint("slow ", i)), slow)
		}
		if _, err := timed(ctx, d, "one more", slow); err != nil {
			t.Errorf("all that live take %v: %v", slow, err)
		}
		for i := range 2 * dialWindow {
			_, _ = timed(ctx, d, peer.ID(fmt.Sprint("quick again ", i)), quick)
			_, _ = timed(ctx, d, peer.ID(fmt.Sprint("dead again ", i)), time.Hour)
		}
		if got := d.patience("another", time.Now()); got != minDial {
			t.Errorf("patience is %v when all that live take %v, want %v: the dead count", got, quick, minDial)
		}
	})
}

func TestDialsEndWithTheirHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDials(t.Context())
		d.known(t, time.Millisecond)
		_, _ = timed(t.Context(), d, "dead", time.Hour)
		began := time.Now()
		if err := d.host.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("a dial that nobody waits for held up Close for %v", took)
		}
		if err := d.try(t.Context(), "late", takes(0)); !errors.Is(err, ErrClosed) {
			t.Errorf("a dial after Close: %v, want ErrClosed", err)
		}
	})
}

func TestDialsRememberSoManyOfTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDials(t.Context())
		for i := range deadMost + 8 {
			d.ended(peer.ID(fmt.Sprint(i)), time.Now(), ErrUnreachable)
		}
		if len(d.vain) != deadMost {
			t.Errorf("%d remembered, want %d", len(d.vain), deadMost)
		}
		time.Sleep(deadFor)
		d.ended("later", time.Now(), ErrUnreachable)
		if len(d.vain) != 1 {
			t.Errorf("%d remembered when all others are stale", len(d.vain))
		}
	})
}
