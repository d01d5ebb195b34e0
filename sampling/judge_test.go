package sampling_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"granary/sampling"
)

func TestWholeBlockIsAvailable(t *testing.T) {
	b := newBlock(t, 600, 1)
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(100, b)
		net.deny = func(ctx context.Context, _ request) error { return after(ctx, 100*time.Millisecond) }
		v := judge(t, net, fresh(b), nil)
		check(t, v)
		t.Log(v)
		t.Log(v.Explain())
		if v.State != sampling.Available {
			t.Fatal(v)
		}
	})
}

func TestWithheldBlockIsUnavailable(t *testing.T) {
	b, c := newBlock(t, 600, 1), newBlock(t, 70, 2)
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(30, b, c)
		net.deny = refuse(b, withhold(b, 0.6, 1))
		v := judge(t, net, fresh(b), &c.bundle)
		check(t, v)
		t.Log(v)
		t.Log(v.Explain())
		if v.State != sampling.Unavailable {
			t.Fatal(v)
		}
	})
}
