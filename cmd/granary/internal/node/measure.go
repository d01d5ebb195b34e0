package node

import (
	"maps"
	"sync"
	"time"

	"granary/sampling"
	"granary/sampling/kad"
)

// Sampled is what the tests of a node came to since it started.
type Sampled struct {
	Verdicts map[sampling.State]int64 `json:"verdicts"`
	Causes   map[sampling.Cause]int64 `json:"causes"` // how asking for rows ended
	Bytes    int64                    `json:"bytes"`  // rows and paths received
	Groups   []GroupSampled           `json:"groups"` // by custody group, 64 of them
	Took     Durations                `json:"-"`      // from the beginning of a test to its verdict
}

// GroupSampled says how available the pieces of one custody group are. A block
// can be available while one group is not: the average hides it.
type GroupSampled struct {
	Asked    int64 `json:"asked"` // rows asked for
	Verified int64 `json:"verified"`
	Holders  int   `json:"custodians"` // of the group that are known and answered when asked last
}

// Durations counts how long things took.
type Durations struct {
	Count   uint64
	Sum     time.Duration
	Buckets [len(tookBuckets)]uint64 // how many took at most as long as TookBucket says
}

// tookBuckets spans a warm test in a good network and one that waits for its
// second round.
var tookBuckets = [...]time.Duration{
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
	5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute,
}

// TookBucket is the upper bound of a bucket of Durations.
func TookBucket(i int) time.Duration { return tookBuckets[i] }

func (d *Durations) add(took time.Duration) {
	d.Count++
	d.Sum += took
	for i, most := range tookBuckets {
		if took <= most {
			d.Buckets[i]++
		}
	}
}

// sampled counts verdicts; its zero value is empty.
type sampled struct {
	mu  sync.Mutex // guards all
	all Sampled
}

// add counts one verdict.
func (s *sampled) add(v Verified) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.all
	if a.Groups == nil {
		a.Verdicts, a.Causes = map[sampling.State]int64{}, map[sampling.Cause]int64{}
		a.Groups = make([]GroupSampled, sampling.Groups)
	}
	a.Verdicts[v.State]++
	a.Bytes += v.Bytes
	if v.Took > 0 { // else no row was asked for
		a.Took.add(v.Took)
	}
	for row, cause := range v.Causes {
		a.Causes[cause]++
		group := &a.Groups[sampling.GroupOf(v.ID, v.Info.Geometry().PieceOf(row))]
		group.Asked++
		if cause == sampling.Verified {
			group.Verified++
		}
	}
}

// Sampled returns what the node's tests came to since it started.
func (n *Node) Sampled() Sampled {
	n.sampled.mu.Lock()
	a := n.sampled.all
	a.Verdicts, a.Causes = maps.Clone(a.Verdicts), maps.Clone(a.Causes)
	groups := make([]GroupSampled, sampling.Groups)
	copy(groups, a.Groups)
	n.sampled.mu.Unlock()
	for g, holders := range n.host.GroupHolders() {
		groups[g].Holders = holders
	}
	a.Groups = groups
	return a
}

// Weakest is the group of which the smallest part of the rows asked for was
// had, -1 if no row was.
func (s Sampled) Weakest() int {
	weakest := -1
	for g, group := range s.Groups {
		if group.Asked == 0 {
			continue
		}
		if weakest < 0 || group.Verified*s.Groups[weakest].Asked < s.Groups[weakest].Verified*group.Asked {
			weakest = g
		}
	}
	return weakest
}

// Counts is what the node's host has counted since it started.
func (n *Node) Counts() map[kad.Exchange]kad.Tally { return n.host.Counts() }
