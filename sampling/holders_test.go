package sampling_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"granary/erasure"
	"granary/sampling"
)

func TestSlowHoldersAreHedged(t *testing.T) {
	b := newBlock(t, 600, 1)
	for _, c := range []struct {
		name string
		slow func(row int, h sampling.Holder, net *network) bool
	}{
		{"one in ten", func(_ int, h sampling.Holder, net *network) bool { return slices.Index(net.peers, h)%10 == 0 }},
		{"half", func(_ int, h sampling.Holder, net *network) bool { return slices.Index(net.peers, h)%2 == 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork(100, b)
				net.deny = func(ctx context.Context, r request) error {
					if c.slow(r.row, r.holder, net) {
						return after(ctx, 4*time.Second)
					}
					return after(ctx, 80*time.Millisecond)
				}
				v := judge(t, net, fresh(b), nil)
				expect(t, v, sampling.Available, "")
				if v.Took > 3*time.Second || v.Rows != 50 {
					t.Errorf("%v: want all of the first stage within 3 s", v)
				}
				t.Logf("%v, %d requests", v, len(net.requests))
			})
		})
	}
}

// A warm sampler knows how long rows take, and hedges sooner.
func TestHedgingAdapts(t *testing.T) {
	b := newBlock(t, 600, 1)
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(100, b)
		net.deny = func(ctx context.Context, r request) error {
			if slices.Index(net.peers, r.holder)%10 == 0 {
				return after(ctx, 4*time.Second)
			}
			return after(ctx, 80*time.Millisecond)
		}
		s := sampling.New(net, net, sampling.Config{})
		var took []time.Duration
		for range 5 {
			v, err := s.Judge(t.Context(), fresh(b), nil)
			if err != nil || v.State != sampling.Available {
				t.Fatal(v, err)
			}
			took = append(took, v.Took)
		}
		t.Log(took)
		if first, later := took[0], slices.Max(took[1:]); later >= first || later > 700*time.Millisecond {
			t.Errorf("first verdict took %v, later ones up to %v", first, later)
		}
	})
}

func TestHalfOfTheHoldersDead(t *testing.T) {
	b := newBlock(t, 600, 1)
	for _, c := range []struct {
		name string
		dead func(ctx context.Context) error
		most time.Duration
	}{
		{"silent", func(ctx context.Context) error { return after(ctx, time.Hour) }, 6 * time.Second},
		{"dialled in vain", func(ctx context.Context) error {
			if err := after(ctx, 1500*time.Millisecond); err != nil {
				return err
			}
			return errUnreachable
		}, 4 * time.Second},
		{"refusing connections", func(context.Context) error { return errUnreachable }, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(10) {
				synctest.Test(t, func(t *testing.T) {
					net := newNetwork(100, b)
					dead := make(map[sampling.Holder]bool)
					for _, i := range rand.New(rand.NewPCG(seed, 2)).Perm(100)[:50] {
						dead[net.peers[i]] = true
					}
					net.deny = func(ctx context.Context, r request) error {
						if dead[r.holder] {
							return c.dead(ctx)
						}
						return after(ctx, 80*time.Millisecond)
					}
					v := judge(t, net, fresh(b), nil)
					expect(t, v, sampling.Available, "")
					if v.Took > c.most || v.Missing > 0 {
						t.Errorf("seed %d: %v: want all within %v", seed, v, c.most)
					}
					t.Logf("seed %d: %v, %d requests", seed, v, len(net.requests))
				})
			}
		})
	}
}

// On a line that is full, all rows are slow: more requests would not help.
func TestSlowLine(t *testing.T) {
	b := newBlock(t, 600, 1)
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(100, b)
		const perRow = 131 * time.Millisecond // 16 KiB at 1 Mbit/s
		var mu sync.Mutex
		free := time.Now()
		net.deny = func(ctx context.Context, _ request) error {
			mu.Lock()
			if now := time.Now(); free.Before(now) {
				free = now
			}
			free = free.Add(perRow)
			d := time.Until(free)
			mu.Unlock()
			return after(ctx, d)
		}
		v := judge(t, net, fresh(b), nil)
		expect(t, v, sampling.Available, "")
		t.Logf("%v, %d requests", v, len(net.requests))
		if len(net.requests) > 80 || v.Took > 12*time.Second {
			t.Errorf("%v, %d requests for 50 rows", v, len(net.requests))
		}
	})
}

func TestLiarsNeverCount(t *testing.T) {
	b := newBlock(t, 600, 1)
	other := newBlock(t, 600, 9)
	forgeries := []struct {
		name  string
		cause sampling.Cause
		forge func(r request, data []byte, path []erasure.Root) ([]byte, []erasure.Root)
	}{
		{"flipped bit", sampling.BadPath, func(r request, data []byte, path []erasure.Root) ([]byte, []erasure.Root) {
			data[r.row%len(data)] ^= 1
			return data, path
		}},
		{"another row", sampling.BadPath, func(r request, _ []byte, _ []erasure.Root) ([]byte, []erasure.Root) {
			row := (r.row + 1) % len(b.rows)
			return slices.Clone(b.rows[row]), b.paths[row]
		}},
		{"another block", sampling.BadPath, func(r request, _ []byte, _ []erasure.Root) ([]byte, []erasure.Root) {
			return slices.Clone(other.rows[r.row]), other.paths[r.row]
		}},
		{"short", sampling.BadLength, func(_ request, data []byte, path []erasure.Root) ([]byte, []erasure.Root) {
			return data[:100], path
		}},
		{"empty", sampling.BadLength, func(request, []byte, []erasure.Root) ([]byte, []erasure.Root) { return nil, nil }},
		{"long path", sampling.BadPath, func(_ request, data []byte, path []erasure.Root) ([]byte, []erasure.Root) {
			return data, append(path, erasure.Root{})
		}},
	}
	for _, c := range forgeries {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork(40, b)
				liar := func(h sampling.Holder) bool { return slices.Index(net.peers, h)%2 == 0 }
				net.forge = func(r request, data []byte, path []erasure.Root) ([]byte, []erasure.Root) {
					if liar(r.holder) {
						return c.forge(r, data, path)
					}
					return data, path
				}
				v := judge(t, net, fresh(b), nil)
				expect(t, v, sampling.Available, "")
				if v.Serving > 20 || len(v.Liars) == 0 || len(v.Liars) > 20 || !slices.IsSorted(v.Liars) {
					t.Errorf("%d serving, liars %v", v.Serving, v.Liars)
				}
				for _, h := range v.Liars {
					if !liar(h) {
						t.Errorf("%s called a liar", h)
					}
				}
				if v.Bytes != net.served {
					t.Errorf("%d bytes counted, %d were sent", v.Bytes, net.served)
				}

				net.forge = c.forge // all lie
				v = judge(t, net, fresh(b), nil)
				expect(t, v, sampling.Inconclusive, sampling.NoControl)
				if v.Verified != 0 || v.Serving != 0 || tally(v)[c.cause] == 0 {
					t.Errorf("%v: causes %v", v, tally(v))
				}
				times := make(map[sampling.Holder]int)
				for _, r := range net.requests {
					times[r.holder]++
				}
				if v.Bytes > net.served {
					t.Errorf("%d bytes counted, %d were sent", v.Bytes, net.served)
				}
			})
		})
	}
}

func TestStoppedTestIsInconclusiveWithCauses(t *testing.T) {
	b := newBlock(t, 600, 1)
	control := newBlock(t, 70, 3)
	for _, c := range []struct {
		name  string
		after time.Duration
		min   int // rows verified
	}{
		{"before the first request", 0, 0},
		{"in the first round", 250 * time.Millisecond, 24},
		{"between the rounds", 20 * time.Second, 30},
		{"in the second round", 30*time.Second + 500*time.Millisecond, 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork(40, b, control)
				gone := withhold(b, 0.5, 7)
				net.deny = func(ctx context.Context, r request) error {
					if err := after(ctx, 100*time.Millisecond); err != nil {
						return err
					}
					return refuse(b, gone)(ctx, r)
				}
				if c.min == 24 {
					net.deny = func(ctx context.Context, _ request) error { return after(ctx, 100*time.Millisecond) }
				}
				ctx, cancel := context.WithTimeout(t.Context(), c.after)
				defer cancel()
				begun := time.Now()
				v, err := sampling.New(net, net, sampling.Config{}).Judge(ctx, fresh(b), against(&control.bundle))
				if err != nil {
					t.Fatal(err)
				}
				expect(t, v, sampling.Inconclusive, sampling.Stopped)
				if time.Since(begun) != c.after || v.Took != c.after {
					t.Errorf("ended after %v, want %v", time.Since(begun), c.after)
				}
				if v.Verified < c.min || c.min == 0 && v.Rows != 0 {
					t.Errorf("%v: %d verified, want %d at least: %v", v, v.Verified, c.min, tally(v))
				}
			})
		})
	}
}

func TestManyTestsAtOnce(t *testing.T) {
	b := newBlock(t, 100, 1)
	net := newNetwork(30, b)
	s := sampling.New(net, net, sampling.Config{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			v, err := s.Judge(t.Context(), fresh(b), nil)
			if err != nil || v.State != sampling.Available {
				t.Error(v, err)
			}
		})
	}
	wg.Wait()
}

func TestWrongUseIsAnError(t *testing.T) {
	b, control := newBlock(t, 100, 1), newBlock(t, 70, 3)
	rows := erasure.NewPlan(100, 20).Rows()
	draw, err := erasure.Draw(100, rows)
	if err != nil {
		t.Fatal(err)
	}
	twice := slices.Clone(draw)
	twice[3] = twice[7]
	outside := slices.Clone(draw)
	outside[3] = 200
	negative := slices.Clone(draw)
	negative[3] = -1
	for _, c := range []struct {
		name   string
		change func(*sampling.Target)
		want   error
	}{
		{"other proof", func(t *sampling.Target) { t.Bundle.Proof = control.bundle.Proof }, erasure.ErrProof},
		{"no proof", func(t *sampling.Target) { t.Bundle.Proof = nil }, erasure.ErrProof},
		{"no bundle", func(t *sampling.Target) { t.Bundle = erasure.Bundle{} }, erasure.ErrName},
		{"too many bits", func(t *sampling.Target) { t.Bits = 101 }, nil},
		{"negative bits", func(t *sampling.Target) { t.Bits = -1 }, nil},
		{"short draw", func(t *sampling.Target) { t.Draw = draw[1:] }, nil},
		{"empty draw", func(t *sampling.Target) { t.Draw = []int{} }, nil},
		{"row twice", func(t *sampling.Target) { t.Draw = twice }, nil},
		{"row outside", func(t *sampling.Target) { t.Draw = outside }, nil},
		{"negative row", func(t *sampling.Target) { t.Draw = negative }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			net := newNetwork(10, b, control)
			target := fresh(b)
			c.change(&target)
			v, err := sampling.New(net, net, sampling.Config{}).Judge(t.Context(), target, nil)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if v.State != sampling.Inconclusive {
				t.Errorf("verdict %v", v)
			}
			if len(net.requests) != 0 {
				t.Error("somebody was asked")
			}
		})
	}
}

func TestUselessControlIsAnError(t *testing.T) {
	b, other := newBlock(t, 600, 1), newBlock(t, 70, 3)
	for _, c := range []struct {
		name    string
		control *erasure.Bundle
		want    error
	}{
		{"the block itself", &b.bundle, nil},
		{"without proof", &erasure.Bundle{Info: other.bundle.Info}, erasure.ErrProof},
		{"empty", &erasure.Bundle{}, erasure.ErrName},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork(10, b, other)
				net.deny = func(context.Context, request) error { return sampling.ErrNotHeld }
				v, err := sampling.New(net, net, sampling.Config{}).Judge(t.Context(), fresh(b), against(c.control))
				if err == nil || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				expect(t, v, sampling.Inconclusive, sampling.Stopped)
			})
		})
	}
}

// Nobody needs to know another block while rows come.
func TestControlIsAskedForOnlyInDoubt(t *testing.T) {
	b := newBlock(t, 600, 1)
	net := newNetwork(10, b)
	v, err := sampling.New(net, net, sampling.Config{}).Judge(t.Context(), fresh(b), func(context.Context) *erasure.Bundle {
		t.Error("control asked for")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, v, sampling.Available, "")
}
