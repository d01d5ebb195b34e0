package kad_test

import (
	"testing"
	"testing/synctest"
	"time"

	"granary/sampling"
	"granary/sampling/kad"
)

// In a network with few custodians each group is kept: by those who owe it, or
// by one who stands in, whom everybody asks first.
func TestGroupsOfNobodysAreKeptAndAskedFor(t *testing.T) {
	blocks := simBlocks(t)
	synctest.Test(t, func(t *testing.T) {
		const count = 16
		w := newWorld(t, 5, count, 1, blocks...)
		defer w.close()
		c := w.join(0)
		defer func() { _ = c.Close() }()
		if _, err := c.Custodians(t.Context()); err != nil { // they meet each other by it, too
			t.Error(err)
		}
		if _, known := w.hosts[0].StandIns(); known {
			t.Error("who owes nothing was known at once")
		}
		time.Sleep(time.Hour)
		var kept, stood sampling.GroupSet
		standIn := make(map[int]kad.Holder)
		for _, h := range w.hosts {
			groups, known := h.StandIns()
			if !known {
				t.Fatal("after an hour a custodian does not know which groups nobody owes")
			}
			if groups&(stood|h.Groups()) != 0 {
				t.Errorf("%d groups are stood in for twice", (groups & stood).Count())
			}
			kept |= h.Groups() | groups
			stood |= groups
			for g := range groups.All() {
				standIn[g] = kad.Holder{Peer: h.ID()}
			}
		}
		if kept != sampling.AllGroups || stood == 0 {
			t.Fatalf("%d groups are kept, %d of them by those who stand in", kept.Count(), stood.Count())
		}
		if _, known := c.StandIns(); known {
			t.Error("a light client would stand in")
		}
		f := c.NewFinder(t.Context(), nil)
		defer f.Close()
		id := blocks[0].bundle.Info.ID()
		for p := range blocks[0].bundle.Info.Geometry().Pieces() {
			want, ok := standIn[sampling.GroupOf(id, p)]
			if holders := f.For(t.Context(), id, p, 0); ok && (len(holders) == 0 || holders[0] != sampling.Holder(want.Peer)) {
				t.Errorf("piece %d: not who stands in is asked first", p)
			}
		}
	})
}
