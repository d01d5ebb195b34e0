package sampling

import (
	"context"

	"granary/erasure"
)

// Rows of the block to compare with: so many are asked for, and all but one in
// so many must come.
const (
	controlRows     = 8
	controlTolerate = 4
	maxVouch        = 32 // more holders that may be asked for one row each
)

// doubt returns why the missing rows show nothing about the block, or nothing
// if they do.
func (j *judgement) doubt(ctx context.Context) (Reason, error) {
	silent := j.quiet(nil)
	switch {
	case j.verdict.Holders == 0:
		return NoHolders, nil
	case silent && (!j.target.Fresh || j.early):
		return NobodyAnswered, nil
	case !j.target.Fresh:
		return HeadStale, nil
	case j.early:
		return TooEarly, nil
	}
	switch found, err := j.findControl(ctx); {
	case err != nil:
		return "", err
	case !found && silent:
		return NobodyAnswered, nil
	case !found:
		return NoControl, nil
	}
	control, err := j.compare(ctx)
	if err != nil {
		return "", err
	}
	came := control.verified >= len(control.probes)-len(control.probes)/controlTolerate
	switch {
	case !came && j.quiet(control):
		return NobodyAnswered, nil
	case !came:
		return ControlMissing, nil
	}
	j.vouch(ctx, control)
	if j.refused(control) <= j.sample.last().Tolerate {
		return TooFewAnswers, nil
	}
	return "", nil
}

// quiet reports whether nobody has said anything.
func (j *judgement) quiet(control *trial) bool {
	live := func(st standing) bool { return st.live }
	return j.sample.book.count(live) == 0 && (control == nil || control.book.count(live) == 0)
}

// compare asks for rows of the control, of those holders only that were asked
// for the missing rows.
func (j *judgement) compare(ctx context.Context) (*trial, error) {
	k := j.controlInfo.Geometry().K()
	n := min(controlRows, 2*k)
	rows, err := erasure.Draw(k, n)
	if err != nil {
		return nil, err
	}
	t := j.newTrial(j.controlInfo, j.control, []erasure.Stage{{Rows: n}}, rows)
	t.among = make(map[Holder]bool)
	for _, p := range j.sample.missing() {
		for h := range p.asked {
			t.among[h] = true
		}
	}
	if err := t.round(ctx, 0); err != nil {
		return nil, err
	}
	j.verdict.Control = Control{ID: t.id, Rows: n, Verified: t.verified}
	j.verdict.Bytes += t.received()
	return t, nil
}

// vouch asks holders of missing rows that have said nothing yet for a row of
// the control each: silence about the target counts only if it is broken here.
// What it learns stands in the control's book.
func (j *judgement) vouch(ctx context.Context, control *trial) {
	t := &trial{
		sampler: j.Sampler, id: control.id, g: control.g, verifier: control.verifier, book: control.book,
	}
	asked := make(map[Holder]bool)
	for _, p := range control.probes {
		for _, h := range p.known {
			if !asked[h] && !j.sample.book.live(h) && !control.book.live(h) && len(t.probes) < maxVouch {
				asked[h] = true
				t.probes = append(t.probes, &probe{row: p.row, known: []Holder{h}, fixed: true})
			}
		}
	}
	if len(t.probes) == 0 {
		return
	}
	t.stages = []erasure.Stage{{Rows: len(t.probes)}}
	_ = t.round(ctx, 0) // keeps nothing, so it cannot fail
	j.verdict.Bytes += t.received()
}

// refused is how many missing rows their holders do not serve: rows asked for
// in both rounds, of somebody who does answer, and of nobody who was busy or
// had yet to fetch them. Silence alone may be the line's.
func (j *judgement) refused(control *trial) int {
	n := 0
	for _, p := range j.sample.missing() {
		live, later := false, false
		for h, c := range p.asked {
			live = live || j.sample.book.live(h) || control.book.live(h)
			later = later || c == Busy || c == Pending || c == NotAwaited
		}
		if p.rounds == 2 && live && !later {
			n++
		}
	}
	return n
}
