package sampling_test

import (
	"fmt"
	"slices"
	"testing"

	"granary/sampling"
)

// Where everybody knows everybody, a group that nobody owes is kept by one
// custodian, and none keeps more of them than it has groups of its own.
func TestOneStandsInForAGroupOfNobodys(t *testing.T) {
	const chain, count = "net", 4
	for _, n := range []int{1, 2, 7, 20, 60} {
		var peers [][]byte
		var owed sampling.GroupSet
		for i := range n {
			peers = append(peers, fmt.Append(nil, "peer", n, i))
			owed |= sampling.Custody(chain, peers[i], count)
		}
		var kept sampling.GroupSet
		spent := false // somebody has as much as he is to have
		for i, self := range peers {
			mine := sampling.StandIns(chain, self, slices.Delete(slices.Clone(peers), i, i+1), count)
			if mine&owed != 0 || mine&kept != 0 {
				t.Errorf("%d peers: peer %d stands in for %v, which others keep", n, i, slices.Collect(mine.All()))
			}
			if mine.Count() > count {
				t.Errorf("%d peers: peer %d stands in for %d groups, want %d at most", n, i, mine.Count(), count)
			}
			for g := range mine.All() {
				if slices.ContainsFunc(peers, func(o []byte) bool { return sampling.StandInOrder(chain, g, o, self) < 0 }) {
					t.Errorf("%d peers: peer %d stands in for group %d, and is not the first in its order", n, i, g)
				}
			}
			kept |= mine
			spent = spent || mine.Count() == count
		}
		if rest := sampling.AllGroups &^ (kept | owed); rest != 0 && !spent {
			t.Errorf("%d peers: nobody stands in for %v", n, slices.Collect(rest.All()))
		}
	}
	if got := slices.Collect(sampling.StandIns("net", []byte("a"), [][]byte{[]byte("b"), []byte("c")}, 16).All()); !slices.Equal(got, standInVector) {
		t.Errorf("a stands in for %v, want %v", got, standInVector)
	}
}

// standInVector was computed by another program from the specification.
var standInVector = []int{5, 8, 16, 27, 39, 47, 56}
