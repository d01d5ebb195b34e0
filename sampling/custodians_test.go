package sampling_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"granary/erasure"
	"granary/sampling"
)

// custodians is a network in which everybody holds the pieces of some groups,
// and four validators, asked last, hold everything.
type custodians struct {
	*network
	groups map[sampling.Holder]sampling.GroupSet
}

func newCustodians(n, count int, blocks ...*block) custodians {
	c := custodians{newNetwork(n, blocks...), make(map[sampling.Holder]sampling.GroupSet)}
	for i, h := range c.peers {
		c.groups[h] = sampling.Custody("test", []byte(h), count)
		if i >= n-4 {
			c.groups[h] = sampling.AllGroups
		}
	}
	return c
}

func (c custodians) For(_ context.Context, id erasure.ID, piece, _ int) []sampling.Holder {
	var found []sampling.Holder
	for _, h := range c.peers {
		if c.groups[h].Has(sampling.GroupOf(id, piece)) {
			found = append(found, h)
		}
	}
	return found
}

func (c custodians) Row(ctx context.Context, h sampling.Holder, id erasure.ID, row int) ([]byte, []erasure.Root, error) {
	if !c.groups[h].Has(sampling.GroupOf(id, c.blocks[id].g.PieceOf(row))) {
		return nil, nil, sampling.ErrNotHeld
	}
	return c.network.Row(ctx, h, id, row)
}

// Of 104 nodes 30 % are silent, half of the rest refuse, and the validators are
// down: the block is available all the same.
func TestCustodiansOutlastFailures(t *testing.T) {
	b := newBlock(t, 600, 1)
	for s := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			net := newCustodians(104, 10, b)
			random := rand.New(rand.NewPCG(s, 4))
			fate := make(map[sampling.Holder]float64)
			for i, h := range net.peers {
				fate[h] = random.Float64()
				if i >= 100 {
					fate[h] = 0
				}
			}
			net.deny = func(ctx context.Context, r request) error {
				switch f := fate[r.holder]; {
				case f < 0.3:
					return after(ctx, time.Hour)
				case f < 0.65:
					return fmt.Errorf("%w", sampling.ErrNotHeld)
				}
				return after(ctx, time.Duration(20+37*r.row%180)*time.Millisecond)
			}
			target := fresh(b)
			target.Draw = random.Perm(b.g.Rows())
			v, err := sampling.New(net, net, sampling.Config{}).Judge(t.Context(), target, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("seed %d: %v, %d requests, %d serving", s, v, len(net.requests), v.Serving)
			expect(t, v, sampling.Available, "")
			if v.Took > 8*time.Second { // a group of which nobody is left costs a row's whole time
				t.Errorf("seed %d: %v", s, v)
			}
		})
	}
}

func TestCustodiansThatDropABlockAreToldFromDeadOnes(t *testing.T) {
	b, control := newBlock(t, 600, 1), newBlock(t, 600, 2)
	dropped := refuse(b, withhold(b, 0.6, 1))
	for _, c := range []struct {
		name   string
		deny   func(ctx context.Context, r request) error
		state  sampling.State
		reason sampling.Reason
	}{
		{"dropped", dropped, sampling.Unavailable, sampling.Withheld},
		{"dropped in silence", func(ctx context.Context, r request) error {
			if dropped(ctx, r) != nil {
				return after(ctx, time.Hour)
			}
			return nil
		}, sampling.Unavailable, sampling.Withheld},
		{"dead but for few", func(ctx context.Context, r request) error {
			if r.holder >= "peer-005" {
				return after(ctx, time.Hour)
			}
			return nil
		}, sampling.Inconclusive, sampling.ControlMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newCustodians(104, 10, b, control)
				net.deny = c.deny
				v, err := sampling.New(net, net, sampling.Config{}).Judge(t.Context(), fresh(b), against(&control.bundle))
				if err != nil {
					t.Fatal(err)
				}
				expect(t, v, c.state, c.reason)
				t.Logf("%v, %d requests", v, len(net.requests))
			})
		})
	}
}
