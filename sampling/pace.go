package sampling

import (
	"slices"
	"sync"
	"time"
)

// How long a holder has to answer before another is asked as well.
const (
	firstHedge = 400 * time.Millisecond // until there is something to go by
	minHedge   = 50 * time.Millisecond
	maxHedge   = 4 * time.Second

	paceWindow = 128 // rows remembered
	paceEnough = 16  // rows to go by
)

// pace remembers how long the last verified rows took.
type pace struct {
	mu   sync.Mutex // guards took and next
	took []time.Duration
	next int // where the next goes once took is full
}

func (p *pace) add(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.took) < paceWindow {
		p.took = append(p.took, d)
		return
	}
	p.took[p.next] = d
	p.next = (p.next + 1) % paceWindow
}

// hedge returns when to ask another holder: when 95 % of the rows that came
// had come.
func (p *pace) hedge() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.took) < paceEnough {
		return firstHedge
	}
	sorted := slices.Sorted(slices.Values(p.took))
	return min(max(sorted[len(sorted)*95/100], minHedge), maxHedge)
}
