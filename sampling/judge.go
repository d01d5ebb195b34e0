package sampling

import (
	"context"
	"errors"
	"fmt"
	"time"

	"granary/erasure"
)

// judgement is one test.
type judgement struct {
	*Sampler
	target      Target
	another     func(context.Context) *erasure.Bundle // a block to compare with; nil: none
	control     *erasure.Verifier                     // of that block, once it is known
	controlInfo erasure.Info
	id          erasure.ID
	k           int
	plan        erasure.Plan
	draw        []int
	early       bool // begun while the block might still be on its way
	sample      *trial
	kept        map[int][]byte // the verified rows of the sample, if decoding may follow
	verdict     Verdict
}

func (s *Sampler) newJudgement(target Target) (*judgement, error) {
	verifier, err := erasure.NewVerifier(target.Bundle.Info, target.Bundle.Proof)
	if err != nil {
		return nil, err
	}
	j := &judgement{Sampler: s, target: target, id: target.Bundle.Info.ID(), draw: target.Draw}
	if j.target.Bits == 0 {
		j.target.Bits = DefaultBits
	}
	if j.target.Bits < 0 || j.target.Bits > erasure.MaxBits {
		return nil, fmt.Errorf("no verdict of %d bits: 1 to %d", target.Bits, erasure.MaxBits)
	}
	g := target.Bundle.Info.Geometry()
	j.k = g.K()
	j.plan = erasure.NewPlan(j.k, j.target.Bits)
	j.early = time.Now().Before(target.Announced.Add(target.Grace))
	stages := stagesOf(j.k, j.target.Bits)
	rows := stages[len(stages)-1].Rows
	if j.draw == nil {
		if j.draw, err = Draw(j.k, j.target.Bits); err != nil {
			return nil, err
		}
	}
	if err := checkDraw(j.draw, rows, g.Rows()); err != nil {
		return nil, err
	}
	j.sample = s.newTrial(target.Bundle.Info, verifier, stages, j.draw[:rows])
	return j, nil
}

// checkDraw refuses rows that are no draw of at least n distinct rows of total.
func checkDraw(draw []int, n, total int) error {
	seen := make(map[int]bool, len(draw))
	for _, row := range draw {
		if row < 0 || row >= total || seen[row] {
			return fmt.Errorf("row %d cannot be in a draw, or not twice", row)
		}
		seen[row] = true
	}
	if len(draw) < n {
		return fmt.Errorf("a draw of %d rows is too short: %d are needed", len(draw), n)
	}
	return nil
}

func (s *Sampler) newTrial(info erasure.Info, v *erasure.Verifier, stages []erasure.Stage, rows []int) *trial {
	t := &trial{sampler: s, id: info.ID(), g: info.Geometry(), verifier: v, stages: stages, book: newBook(s.cfg.Origin)}
	for _, row := range rows {
		t.probes = append(t.probes, &probe{row: row})
	}
	return t
}

// run makes the test: two rounds of samples, and what follows from them.
func (j *judgement) run(ctx context.Context) (Verdict, error) {
	v := &j.verdict
	*v = Verdict{ID: j.id, State: Inconclusive, Reason: Stopped, Draw: j.draw, Need: j.k}
	var whole *assembly
	switch {
	case j.plan.Decode:
		whole = newAssembly(j.target.Bundle.Info, j.target.Scratch)
		j.sample.whole, j.sample.keep = true, whole.keep
	case j.mayDecode():
		j.kept = make(map[int][]byte)
		j.sample.keep = func(row int, data []byte) error {
			j.kept[row] = data
			return nil
		}
	}
	err := j.rounds(ctx)
	j.count()
	switch {
	case err != nil:
	case j.sample.unclean:
		v.State, v.Reason = Unavailable, NotClean
	case j.sample.passed() && j.plan.Decode:
		err = j.decode(ctx, whole)
	case j.sample.passed():
		v.State, v.Reason, v.Bits = Available, "", j.target.Bits
	case ctx.Err() == nil:
		err = j.missed(ctx)
	}
	return *v, err
}

// findControl asks for a block to compare with, and reports whether there is
// one.
func (j *judgement) findControl(ctx context.Context) (bool, error) {
	if j.another == nil {
		return false, nil
	}
	b := j.another(ctx)
	if b == nil {
		return false, nil
	}
	var err error
	if j.control, err = erasure.NewVerifier(b.Info, b.Proof); err != nil {
		return false, fmt.Errorf("control: %w", err)
	}
	if b.Info.ID() == j.id {
		return false, errors.New("a block cannot be its own control")
	}
	j.controlInfo = b.Info
	return true, nil
}

// rounds asks for the rows of the sample, and again for the missing.
func (j *judgement) rounds(ctx context.Context) error {
	for round := range 2 {
		if round > 0 && !pause(ctx, j.cfg.RetryRound) {
			return nil
		}
		if err := j.sample.round(ctx, round); err != nil {
			return err
		}
		if j.sample.passed() || j.sample.unclean {
			return nil
		}
	}
	return nil
}

// pause waits, and reports whether ctx lasted.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// count enters what the sample was into the verdict.
func (j *judgement) count() {
	v, t := &j.verdict, j.sample
	v.Causes = make(map[int]Cause)
	for _, p := range t.probes {
		if p.rounds > 0 {
			v.Causes[p.row] = p.cause
		}
	}
	v.Rows = len(v.Causes)
	v.Verified = t.verified
	v.Missing = v.Rows - v.Verified
	v.Tolerated = t.last().Tolerate
	v.Fetched = t.verified
	v.Bytes = t.received()
	v.who(t.book)
}

// who enters the holders into the verdict.
func (v *Verdict) who(b *book) {
	v.Holders = b.count(func(standing) bool { return true })
	v.Serving = b.count(func(st standing) bool { return st.served })
	v.Origins = b.served()
	v.Liars = b.liars()
}

// missed decides what it means that too many rows of the sample are missing.
func (j *judgement) missed(ctx context.Context) error {
	v := &j.verdict
	reason, err := j.doubt(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	v.Reason = reason
	if !j.plan.Decode && (j.target.Scratch != nil || reason == "" && j.mayDecode()) {
		if done, err := j.escalate(ctx); done || err != nil {
			return err
		}
	}
	if reason == "" {
		v.State, v.Reason = Unavailable, Withheld
	}
	return nil
}

// mayDecode reports whether there is room for the whole block.
func (j *judgement) mayDecode() bool {
	return j.target.Scratch != nil || j.target.Bundle.Info.Length <= decodeInMemory
}

// escalate asks for any K rows, once, those that the sample missed last, and
// decodes them. It reports whether it came to a verdict, or to its end.
func (j *judgement) escalate(ctx context.Context) (bool, error) {
	v, rows := &j.verdict, 2*j.k
	whole := newAssembly(j.target.Bundle.Info, j.target.Scratch)
	for row, data := range j.kept {
		if err := whole.keep(row, data); err != nil {
			return true, err
		}
	}
	j.kept = nil
	order, err := erasure.Draw(j.k, rows)
	if err != nil {
		return true, err
	}
	t := j.newTrial(j.target.Bundle.Info, j.sample.verifier, []erasure.Stage{{Rows: rows, Tolerate: j.k}}, nil)
	t.whole, t.keep, t.book = true, whole.keep, j.sample.book
	var last []*probe
	for _, row := range order {
		p := &probe{row: row}
		switch cause, asked := v.Causes[row]; {
		case cause == Verified:
			p.cause = Verified
			t.verified++
		case asked:
			last = append(last, p)
			continue
		}
		t.probes = append(t.probes, p)
	}
	t.probes = append(t.probes, last...)

	err = t.round(ctx, 1)
	v.Fetched = t.verified
	v.Bytes += t.received()
	v.who(t.book)
	switch {
	case err != nil:
		return true, err
	case t.unclean:
		v.State, v.Reason = Unavailable, NotClean
		return true, nil
	case t.passed():
		return true, j.decode(ctx, whole)
	case ctx.Err() != nil:
		v.Reason = Stopped
		return true, nil
	}
	return false, nil
}

// decode decides by the whole block.
func (j *judgement) decode(ctx context.Context, whole *assembly) error {
	v := &j.verdict
	err := whole.check(ctx)
	switch {
	case err == nil:
		v.State, v.Reason, v.Bits, v.Decoded = Available, "", DecodedBits, true
	case errors.Is(err, erasure.ErrNotClean):
		v.State, v.Reason, v.Decoded = Unavailable, NotClean, true
	case ctx.Err() == nil:
		return err
	default:
		v.Reason = Stopped
	}
	return nil
}
