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

func TestDialsAreGivenUpWhenOthersWouldBeThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, ctx := newDials(), t.Context()
		takes := func(long time.Duration) func(context.Context) error {
			return func(ctx context.Context) error {
				select {
				case <-time.After(long):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		try := func(p peer.ID, long time.Duration) (time.Duration, error) {
			began := time.Now()
			err := d.try(ctx, p, takes(long))
			return time.Since(began), err
		}
		if took, err := try("dead", time.Hour); err == nil || took != dialTimeout {
			t.Errorf("the first dial: %v after %v, want an error after %v", err, took, dialTimeout)
		}
		for i := range dialWindow + 5 {
			if _, err := try(peer.ID(fmt.Sprint(i)), 150*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		if took, err := try("dead too", time.Hour); err == nil || took != 600*time.Millisecond {
			t.Errorf("a dial when others take 150 ms: %v after %v, want an error after 600 ms", err, took)
		}
		if took, err := try("dead too", 0); !errors.Is(err, ErrUnreachable) || took != 0 {
			t.Errorf("a peer that was dialled in vain: %v after %v, want ErrUnreachable at once", err, took)
		}
		time.Sleep(deadFor)
		if _, err := try("dead too", 0); err != nil {
			t.Errorf("a peer that is back: %v", err)
		}
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if err := d.try(short, "not awaited", takes(time.Hour)); err == nil {
			t.Error("a dial outlasted its context")
		}
		if _, err := try("not awaited", 0); err != nil {
			t.Errorf("a peer whose dial was not waited for counts as dead: %v", err)
		}
	})
}

func TestDialsRememberSoManyOfTheDead(t *testing.T) {
	d := newDials()
	now := time.Now()
	for i := range deadMost + 8 {
		d.bury(peer.ID(fmt.Sprint(i)), now)
	}
	if len(d.dead) != deadMost {
		t.Errorf("%d remembered, want %d", len(d.dead), deadMost)
	}
	d.bury("later", now.Add(deadFor))
	if len(d.dead) != 1 {
		t.Errorf("%d remembered when all others are stale", len(d.dead))
	}
}
