package kad

import (
	"maps"
	"sync"

	"granary/sampling"
)

// Exchange is a kind of thing that the host counts.
type Exchange struct {
	Protocol string // as on the wire
	Side     string // "served" or "asked"; of announcements "heard"
	// Result is how it ended. Served: "answered", "busy", or "dropped" where the
	// request was malformed or did not come in time. Asked: "answered",
	// "unreachable" or "failed". Heard: "accepted", "ignored" or "rejected".
	Result string
}

// Tally is how often something happened, and how many bytes of replies or
// announcements it moved.
type Tally struct{ Times, Bytes int64 }

// counts counts exchanges.
type counts struct {
	mu sync.Mutex // guards n
	n  map[Exchange]Tally
}

func (c *counts) add(protocol, side, result string, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[Exchange]Tally)
	}
	key := Exchange{protocol, side, result}
	c.n[key] = Tally{c.n[key].Times + 1, c.n[key].Bytes + int64(bytes)}
}

// Counts is what the host has counted since it was opened.
func (h *Host) Counts() map[Exchange]Tally {
	h.counts.mu.Lock()
	defer h.counts.mu.Unlock()
	return maps.Clone(h.counts.n)
}

// GroupHolders is how many custodians of each group the node remembers that
// answered when they were asked last.
func (h *Host) GroupHolders() [sampling.Groups]int {
	t := h.table
	t.mu.Lock()
	defer t.mu.Unlock()
	var n [sampling.Groups]int
	for _, k := range t.known {
		if k.heard.IsZero() || k.failed > 0 {
			continue
		}
		for g := range k.groups.All() {
			n[g]++
		}
	}
	return n
}
