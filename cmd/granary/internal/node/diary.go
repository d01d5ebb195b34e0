package node

import (
	"errors"
	"slices"
	"time"

	"granary/cmd/granary/internal/journal"
)

// diarySum is how much time one line of the journal sums up, of blocks that were
// good: what a crash forgets of them.
const diarySum = 24 * time.Hour

// diary writes what a scrub finds and does into the home's journal.
type diary struct {
	scrubs *journal.Scrubs
	by     string // "node" or "command"
	sum    journal.Scrub
}

func (s *Shelf) diary(by string) diary { return diary{scrubs: s.scrubs, by: by} }

// note notes what became of a block.
func (d *diary) note(r ScrubResult) error {
	now := time.Now()
	err := d.scrubs.Record(journal.Scrub{
		Time: now, By: d.by, ID: r.ID, State: r.State, Pieces: int64(r.Pieces), Bytes: r.Bytes,
		Bad: int64(r.Bad), Repaired: int64(r.Repaired), Lost: int64(r.Lost),
		Mended: slices.Compact(slices.Sorted(slices.Values(r.Mended))), Err: r.Err,
	})
	if r.Pieces == 0 {
		return err // nothing of it was read
	}
	if d.sum.Blocks == 0 {
		d.sum = journal.Scrub{By: d.by, Since: now.Add(-time.Duration(r.TookMS) * time.Millisecond)}
	}
	d.sum.Time = now
	d.sum.Blocks++
	d.sum.Pieces += int64(r.Pieces)
	d.sum.Bytes += r.Bytes
	if now.Sub(d.sum.Since) >= diarySum {
		err = errors.Join(err, d.add())
	}
	return err
}

// ScrubHistory is what scrubs of the home found and did, as far as its journal has
// it, oldest first.
func ScrubHistory(home string) ([]journal.Scrub, error) { return journal.ReadScrubs(home) }

// add writes the sum of the blocks that were noted since the last.
func (d *diary) add() error {
	sum := d.sum
	if d.sum = (journal.Scrub{}); sum.Blocks == 0 {
		return nil
	}
	return d.scrubs.Record(sum)
}
