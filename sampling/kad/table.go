package kad

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"granary/sampling"
)

const (
	// maxKnown bounds the table: in a large network, where a custodian has 4
	// groups, it holds 128 of each.
	maxKnown = 2048

	// maxKnownAddrs of one peer are kept, each of at most maxAddr characters;
	// more than a host has are somebody's nonsense.
	maxKnownAddrs = 8
	maxAddr       = 256

	// A group is warm, and needs no lookup before its holders are asked, when
	// enough of them are known, or when it was looked up lately.
	warmHolders = 8
	warmFor     = time.Hour

	// maxFailures in a row make a holder one that is asked last, and that a
	// fresher one replaces.
	maxFailures = 3

	// A holder that was not heard from for so long has left: records in the DHT
	// live for a day.
	maxSilence = 72 * time.Hour
)

// table remembers custodians over lookups and restarts, so that a test of a
// new block asks nobody where its holders are. It is filled from what the DHT
// names, what peers say in hellos, and how requests end. Claims are checked by
// the custody rule before they get here; a holder that has answered us never
// gives way to one that has only been named.
type table struct {
	groupsOf func(peer.ID) sampling.GroupSet // 0 for the node itself

	mu     sync.Mutex // guards what follows
	known  map[peer.ID]*known
	looked [sampling.Groups]time.Time // when the group's key was last looked up to the end
}

// known is what is remembered of one custodian.
type known struct {
	groups sampling.GroupSet
	addrs  []ma.Multiaddr
	heard  time.Time // when it last answered us; zero: it was only named
	named  time.Time // when a lookup last gave it
	failed int       // requests in a row without an answer
}

// last is when there was last a sign of it.
func (k *known) last() time.Time {
	if k.heard.After(k.named) {
		return k.heard
	}
	return k.named
}

func newTable(groupsOf func(peer.ID) sampling.GroupSet) *table {
	return &table{groupsOf: groupsOf, known: make(map[peer.ID]*known)}
}

// entry returns what is known of p, which it makes room for; nil if p is no
// custodian, or if all others are better.
func (t *table) entry(p peer.ID) *known {
	if k := t.known[p]; k != nil {
		return k
	}
	groups := t.groupsOf(p)
	if groups == 0 {
		return nil
	}
	if len(t.known) >= maxKnown {
		worst := slices.MinFunc(slices.Collect(maps.Keys(t.known)), func(a, b peer.ID) int {
			return t.known[a].compare(t.known[b])
		})
		if k := t.known[worst]; !k.heard.IsZero() && k.failed < maxFailures {
			return nil
		}
		delete(t.known, worst)
	}
	k := &known{groups: groups}
	t.known[p] = k
	return k
}

// compare orders by worth: first those to give up first.
func (k *known) compare(o *known) int {
	failing := func(k *known) int { return min(k.failed/maxFailures, 1) }
	never := func(k *known) int {
		if k.heard.IsZero() {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(failing(o), failing(k)), cmp.Compare(never(k), never(o)), k.last().Compare(o.last()))
}

// addNamed notes that a lookup gave p.
func (t *table) addNamed(p peer.ID, addrs []ma.Multiaddr, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := t.entry(p); k != nil {
		k.named = now
		k.learn(addrs)
	}
}

// addHeard notes that p has answered, and says that it is a custodian.
func (t *table) addHeard(p peer.ID, addrs []ma.Multiaddr, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := t.entry(p); k != nil {
		k.heard, k.failed = now, 0
		k.learn(addrs)
	}
}

// note records whether a request to p was answered.
func (t *table) note(p peer.ID, answered bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch k := t.known[p]; {
	case k == nil:
	case answered:
		k.heard, k.failed = now, 0
	default:
		k.failed++
	}
}

// drop forgets p, which says that it is no custodian.
func (t *table) drop(p peer.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, p)
}

func (k *known) learn(addrs []ma.Multiaddr) {
	if len(addrs) > 0 {
		k.addrs = slices.Clone(addrs[:min(len(addrs), maxKnownAddrs)])
	}
}

// lookedUp notes that the key of a group was looked up to the end.
func (t *table) lookedUp(group int, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.looked[group] = now
}

// stalest is the group that was looked up longest ago.
func (t *table) stalest() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	oldest := 0
	for g := range t.looked {
		if t.looked[g].Before(t.looked[oldest]) {
			oldest = g
		}
	}
	return oldest
}

// whereabouts tells where a peer is.
type whereabouts interface {
	origin(p peer.ID) netip.Prefix // the part of the network
	dialled(p peer.ID) bool        // we are connected to it, because we wanted to
}

// holders returns the custodians of any of these groups, in random order but
// for this: first those that answer, of these first those that need no dial,
// and of these one of every origin before the second of any. warm says whether
// a lookup would hardly add to them.
func (t *table) holders(groups sampling.GroupSet, now time.Time, where whereabouts) (holders []peer.ID, warm bool) {
	failed, warm := t.of(groups, now)
	holders = slices.Collect(maps.Keys(failed))
	rand.Shuffle(len(holders), func(i, j int) { holders[i], holders[j] = holders[j], holders[i] })
	crowd := make(map[netip.Prefix]int)
	rank := make(map[peer.ID][3]int, len(holders))
	for _, p := range holders {
		from, dial := where.origin(p), 1
		if where.dialled(p) {
			dial = 0
		}
		rank[p] = [3]int{failed[p], dial, crowd[from]}
		crowd[from]++
	}
	slices.SortStableFunc(holders, func(a, b peer.ID) int {
		ra, rb := rank[a], rank[b]
		return slices.Compare(ra[:], rb[:])
	})
	return holders, warm
}

// of returns the custodians of any of these groups, with how often in a row
// they have failed, at most maxFailures, and whether these groups are warm. It
// forgets those that have left.
func (t *table) of(groups sampling.GroupSet, now time.Time) (failed map[peer.ID]int, warm bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	failed = make(map[peer.ID]int)
	answering := 0
	for p, k := range t.known {
		switch {
		case now.Sub(k.last()) > maxSilence:
			delete(t.known, p)
		case k.groups&groups != 0:
			failed[p] = min(k.failed, maxFailures)
			if k.failed == 0 {
				answering++
			}
		}
	}
	if answering >= warmHolders {
		return failed, true
	}
	for g := range groups.All() {
		if now.Sub(t.looked[g]) >= warmFor {
			return failed, false
		}
	}
	return failed, true
}

// present returns the custodians that have not failed to answer, once every group
// was looked up within the given time.
func (t *table) present(within time.Duration, now time.Time) (all [][]byte, looked bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, at := range t.looked {
		if now.Sub(at) > within {
			return nil, false
		}
	}
	for p, k := range t.known {
		if k.failed < maxFailures && now.Sub(k.last()) <= maxSilence {
			all = append(all, []byte(p))
		}
	}
	return all, true
}

// unheard is the holder of which there was no sign for the longest time; empty
// if there is none.
func (t *table) unheard(now time.Time) peer.ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var longest peer.ID
	for p, k := range t.known {
		if now.Sub(k.heard) > warmFor && (longest == "" || k.heard.Before(t.known[longest].heard)) {
			longest = p
		}
	}
	return longest
}

// addrs returns the addresses at which p was last known.
func (t *table) addrs(p peer.ID) []ma.Multiaddr {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := t.known[p]; k != nil {
		return k.addrs
	}
	return nil
}

// sizes returns how many holders are known, and how many of them have answered.
func (t *table) sizes() (all, heard int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.known {
		if !k.heard.IsZero() {
			heard++
		}
	}
	return len(t.known), heard
}
