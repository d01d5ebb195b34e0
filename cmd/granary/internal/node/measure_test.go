package node_test

import (
	"testing"
	"time"

	"granary/cmd/granary/internal/node"
	"granary/erasure"
	"granary/sampling"
)

// Three of four rows of one group are lost. The average does not show it, the
// group does.
func TestAvailabilityIsCountedByGroup(t *testing.T) {
	const lost = 17
	v := node.Verified{
		Verdict: sampling.Verdict{State: sampling.Available, Bytes: 1000, Took: 3 * time.Second, Causes: map[int]sampling.Cause{}},
		Info:    erasure.Info{Name: "block", Length: 64 << 20},
	}
	missing := int64(0)
	for row := range 2048 {
		v.Causes[row] = sampling.Verified
		if sampling.GroupOf(v.ID, v.Info.Geometry().PieceOf(row)) == lost && row%4 > 0 {
			v.Causes[row] = sampling.NotHeld
			missing++
		}
	}
	s := node.Sample(v, node.Verified{Verdict: sampling.Verdict{State: sampling.Inconclusive, Reason: sampling.Stopped}})
	if s.Weakest() != lost || s.Groups[lost].Asked-s.Groups[lost].Verified != missing || missing == 0 {
		t.Errorf("weakest group %d: %+v; want %d without %d rows", s.Weakest(), s.Groups[lost], lost, missing)
	}
	if s.Causes[sampling.NotHeld] != missing || s.Causes[sampling.Verified] != 2048-missing || s.Bytes != 1000 {
		t.Errorf("causes %v, %d bytes", s.Causes, s.Bytes)
	}
	if s.Verdicts[sampling.Available] != 1 || s.Verdicts[sampling.Inconclusive] != 1 {
		t.Errorf("verdicts %v", s.Verdicts)
	}
	if s.Took.Count != 1 || s.Took.Sum != 3*time.Second {
		t.Errorf("times %+v", s.Took)
	}
	for i, n := range s.Took.Buckets {
		if want := uint64(1); (node.TookBucket(i) >= 3*time.Second) != (n == want) {
			t.Errorf("%d took at most %v", n, node.TookBucket(i))
		}
	}
}
