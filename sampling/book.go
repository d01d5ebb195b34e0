package sampling

import (
	"slices"
	"sync"
	"time"
)

// maxSilent is how many requests of one round a holder may leave without any
// answer before it counts as silent to all: waiting for it once per row would
// only cost the time of those that do answer.
const maxSilent = 2

// standing is what one trial has seen of a holder.
type standing struct {
	asked  int   // requests
	silent int   // requests of this round that had no answer
	late   int   // requests that outlasted the hedge, since its last answer
	live   bool  // has answered anything at all
	served bool  // has handed over a verified row
	lie    Cause // how it has lied: it handed over what was not the row; empty if it has not
}

// book keeps the standing of every holder asked in one trial.
type book struct {
	origin func(Holder) string

	mu      sync.Mutex // guards the maps and every standing in them
	holders map[Holder]*standing
	origins map[string]int // requests to holders of an origin
}

func newBook(origin func(Holder) string) *book {
	return &book{origin: origin, holders: make(map[Holder]*standing), origins: make(map[string]int)}
}

// begin starts a round: nobody counts as silent any more.
func (b *book) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, st := range b.holders {
		st.silent, st.late = 0, 0
	}
}

// pick chooses whom of left to ask next, and notes that it is asked: a holder
// that answers before one that does not, one that was not asked for this row
// before, one from an origin asked less, and of these the one asked least, so
// that the rows are spread over as many origins and holders as there are. Of
// equals the first wins. ok is false if there
// is nobody to ask. rest is left without the one chosen and without liars and
// the silent; these are not asked, and counted into asked as if they had been.
func (b *book) pick(left []Holder, before, asked map[Holder]Cause) (best Holder, rest []Holder, ok bool) {
	from := make(map[Holder]string, len(left))
	for _, h := range left {
		from[h] = b.origin(h)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	rank := func(h Holder) []int {
		st, again := b.holders[h], 0
		if _, yes := before[h]; yes {
			again = 1
		}
		crowd := 0
		if o := from[h]; o != "" {
			crowd = b.origins[o]
		}
		if st == nil {
			return []int{0, again, crowd, 0}
		}
		return []int{st.silent + st.late, again, crowd, st.asked}
	}
	for _, h := range left {
		switch st := b.holders[h]; {
		case st != nil && st.lie != "":
			asked[h] = st.lie
		case st != nil && st.silent >= maxSilent:
			asked[h] = Unreachable
		default:
			rest = append(rest, h)
		}
	}
	if len(rest) == 0 {
		return "", nil, false
	}
	best = slices.MinFunc(rest, func(a, b Holder) int { return slices.Compare(rank(a), rank(b)) })
	if b.holders[best] == nil {
		b.holders[best] = new(standing)
	}
	b.holders[best].asked++
	b.origins[from[best]]++
	i := slices.Index(rest, best)
	return best, slices.Delete(rest, i, i+1), true
}

// late notes that h has not answered when others do.
func (b *book) late(h Holder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holders[h].late++
}

// note records how a request to h ended, and after how long.
func (b *book) note(h Holder, c Cause, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	st := b.holders[h]
	if c.answered() {
		st.silent, st.late, st.live = 0, 0, true
	}
	switch {
	case c == Verified:
		st.served = true
	case c == Unreachable, c == Timeout && took >= firstHedge: // a shorter time was not its own
		st.silent++
		st.late = 0
	case c.lie():
		st.lie = c
	}
}

// live reports whether h has answered anything.
func (b *book) live(h Holder) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	st := b.holders[h]
	return st != nil && st.live
}

// count returns how many holders meet the condition.
func (b *book) count(is func(standing) bool) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, st := range b.holders {
		if is(*st) {
			n++
		}
	}
	return n
}

// served returns from how many origins verified rows came; holders whose origin
// is not known count as one each.
func (b *book) served() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, seen := 0, map[string]bool{"": false}
	for h, st := range b.holders {
		if o := b.origin(h); st.served && !seen[o] {
			seen[o] = o != ""
			n++
		}
	}
	return n
}

// liars returns those that sent what was not the row, sorted.
func (b *book) liars() []Holder {
	b.mu.Lock()
	defer b.mu.Unlock()
	var liars []Holder
	for h, st := range b.holders {
		if st.lie != "" {
			liars = append(liars, h)
		}
	}
	slices.Sort(liars)
	return liars
}
