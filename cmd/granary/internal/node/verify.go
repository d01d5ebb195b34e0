package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"granary/cmd/granary/internal/journal"
	"granary/erasure"
	"granary/ledger"
	"granary/ledger/light"
	"granary/sampling"
)

// controlLookback is how many log entries before the head are searched for
// another certified block to compare with, controlStep of them at a time: a
// block takes about six.
const (
	controlLookback = 256
	controlStep     = 16
)

// VerifyOptions say how to test a block; the zero value works.
type VerifyOptions struct {
	Bits     int           // confidence asked for; 0: 20
	Escalate bool          // fetch any k rows before saying unavailable, whatever the size
	Patience time.Duration // for the ledger, and for the block's description; 0: ten seconds
	Wait     time.Duration // while the verdict is not final, ask again until so long has passed
}

const verifyPatience = 10 * time.Second

// Verified is what a test of availability found.
type Verified struct {
	sampling.Verdict
	Info   erasure.Info
	Ledger LedgerStatus
	Asked  int         // bits of confidence asked for
	Found  light.Found // zero when the ledger does not know the block
	Err    string      // why no row was asked for, if none was
}

// Final reports whether asking again would be another test.
func (v Verified) Final() bool {
	return v.State == sampling.Available || v.Reason == sampling.NotClean
}

// Verify tests whether a block is available, without keeping any of it. The
// rows asked for are kept in the home's journal until a verdict is final, so a
// test that was broken off goes on with them. The error is for a reference
// that names nothing; that nothing could be found out is an inconclusive
// verdict.
func (n *Node) Verify(ctx context.Context, ref Ref, opt VerifyOptions, report Report) (Verified, error) {
	test := func(try int) (Verified, error) {
		v, err := n.verify(ctx, ref, opt, report)
		if err == nil {
			n.record(v, try)
		}
		return v, err
	}
	return n.schedule().repeat(ctx, opt.Wait, test, func(v Verified, next time.Time) {
		report.to(Progress{Stage: "wait", Text: fmt.Sprintf("%s, because %s; asking for the same rows again in %v",
			v.State, v.why(), time.Until(next).Round(time.Second))})
	})
}

// offline says in one line why the ledger could not be read: when several
// providers fail, each gives a line.
func offline(err error) string {
	first, rest, more := strings.Cut(err.Error(), "\n")
	if more {
		first = fmt.Sprintf("%s; and so for %d more", first, 1+strings.Count(rest, "\n"))
	}
	return fmt.Sprintf("%v: %s", ErrOffline, first)
}

// why is the reason of a verdict that is not available.
func (v Verified) why() string {
	if v.Err != "" {
		return v.Err
	}
	return string(v.Reason)
}

// record enters a verdict into the journal. That it cannot be is no reason to
// withhold it from who asked.
func (n *Node) record(v Verified, try int) {
	n.sampled.add(v)
	e := journal.NewEntry(time.Now(), v.Found.Index, v.Verdict)
	e.Reason, e.Attempt = v.why(), try
	if err := n.tests.Record(e); err != nil {
		n.log.Warn("verdict not kept", "block", v.ID.Short(), "err", err)
	}
	if v.Final() {
		if err := n.tests.Settle(v.ID, v.Asked); err != nil {
			n.log.Warn("test not settled", "block", v.ID.Short(), "err", err)
		}
	}
}

// JournalDir is where a home keeps its journal of verdicts.
func JournalDir(home string) string { return filepath.Join(home, "sampling") }

// History returns the verdicts that a home's journal has, oldest first.
func History(home string) ([]journal.Entry, error) { return journal.History(JournalDir(home)) }

func (n *Node) verify(ctx context.Context, ref Ref, opt VerifyOptions, report Report) (v Verified, err error) {
	if opt.Bits == 0 {
		opt.Bits = sampling.DefaultBits
	}
	if opt.Patience == 0 {
		opt.Patience = verifyPatience
	}
	v = Verified{Verdict: sampling.Verdict{ID: ref.ID, State: sampling.Inconclusive, Reason: sampling.Stopped}, Asked: opt.Bits}
	began := time.Now()
	defer func() {
		v.Took = time.Since(began)
		n.mu.Lock()
		v.Ledger = n.ledger
		n.mu.Unlock()
	}()
	report.to(Progress{Stage: "sample", Text: "reading the ledger"})
	look, cancel := context.WithTimeout(ctx, opt.Patience)
	defer cancel()
	if err := n.synced(look); err != nil && !errors.Is(err, light.ErrStale) {
		v.Err = offline(err)
		return v, ctx.Err()
	} else if err != nil {
		v.Err = err.Error()
	}
	id, err := n.ResolveInLedger(look, ref, opt.Patience)
	if err != nil {
		return v, err
	}
	v.ID = id
	if err := n.refuseDenied(look, id); err != nil {
		return v, err
	}
	fresh := v.Err == ""
	v.Found, err = n.light.Find(look, id)
	if errors.Is(err, ledger.ErrNotFound) {
		return v, fmt.Errorf("%s: %w", id, err)
	}
	if err != nil {
		v.Err, fresh = offline(err), false
	}

	report.to(Progress{Stage: "sample", Text: "asking for the description of " + id.Short()})
	bundle, err := n.bundle(look, id)
	if err != nil {
		v.Err = "nobody who answers can describe the block: " + err.Error()
		return v, ctx.Err()
	}
	v.Info = bundle.Info
	target := sampling.Target{
		Bundle: bundle, Bits: opt.Bits,
		Fresh:     fresh && v.Found.Status == ledger.Certified,
		Announced: v.Found.Outcome.Time, Grace: n.schedule().grace(bundle.Info.Length),
	}
	if target.Draw, err = n.tests.Draw(id, bundle.Info.Geometry().K(), opt.Bits); err != nil {
		return v, err
	}
	if opt.Escalate {
		f, err := n.scratch(ctx, int64(bundle.Info.Geometry().Rows())*erasure.RowSize)
		if err != nil {
			return v, fmt.Errorf("fetch all of %s: %w", id.Short(), err)
		}
		defer func() { _ = f.Close() }() // scratch
		target.Scratch = f
	}
	report.to(Progress{Stage: "sample", Text: "asking for rows"})
	f := n.host.NewFinder(ctx, n.keepers())
	defer f.Close()
	s := sampling.New(f, f, sampling.Config{RetryRound: n.cfg.Genesis.Params.RetryRound, Origin: f.Origin})
	v.Verdict, err = s.Judge(ctx, target, func(ctx context.Context) *erasure.Bundle {
		ctx, cancel := context.WithTimeout(ctx, opt.Patience)
		defer cancel()
		return n.control(ctx, id)
	})
	return v, err
}

// bundle returns the description of a block: from the store, or asked of
// those who hold it, without keeping it.
func (n *Node) bundle(ctx context.Context, id erasure.ID) (erasure.Bundle, error) {
	if b, err := n.store.Block(id); err == nil && b.Bundle().Proof != nil {
		return b.Bundle(), nil
	}
	return n.lookUp(ctx, id, n.keepers(), nil)
}

// control finds another certified block to compare with: the latest of the
// log that somebody can describe. nil if there is none.
func (n *Node) control(ctx context.Context, id erasure.ID) *erasure.Bundle {
	head, _ := n.light.Head()
	for to := head.Size; to > head.Size-min(head.Size, controlLookback); {
		from := to - min(to, controlStep)
		entries, err := n.light.Entries(ctx, from, int(to-from))
		if err != nil || uint64(len(entries)) < to-from {
			return nil
		}
		for _, e := range slices.Backward(entries) {
			if e.Kind != ledger.EntryCertified || e.Outcome.ID == id {
				continue
			}
			if b, err := n.bundle(ctx, e.Outcome.ID); err == nil {
				return &b
			}
		}
		to = from
	}
	return nil
}

// VerifyResult is what `granary verify` reports.
type VerifyResult struct {
	ID       string         `json:"id"`
	Name     string         `json:"name,omitempty"`
	Length   int64          `json:"length,omitempty"`
	Verdict  sampling.State `json:"verdict"`
	Reason   string         `json:"reason,omitempty"`
	Samples  int            `json:"samples"` // rows asked for
	Missing  int            `json:"missing"`
	Bits     int            `json:"bits"` // 128 where the block was decoded
	Decoded  bool           `json:"decoded"`
	Bytes    int64          `json:"bytes"` // rows and paths received
	Holders  int            `json:"holders"`
	Origins  int            `json:"origins"` // networks (/24, /48) that verified rows came from
	Liars    int            `json:"liars"`
	TookMS   int64          `json:"took_ms"`
	Causes   map[string]int `json:"causes,omitempty"` // how asking for the rows ended
	Height   int64          `json:"certified_height,omitempty"`
	Power    int64          `json:"voting_power,omitempty"`
	Total    int64          `json:"total_power,omitempty"`
	Ledger   LedgerStatus   `json:"ledger"`
	Explains string         `json:"explanation"`
}

// Result returns v as it is reported.
func (v Verified) Result() VerifyResult {
	r := VerifyResult{
		ID: v.ID.String(), Name: v.Info.Name, Length: v.Info.Length,
		Verdict: v.State, Reason: string(v.Reason), Samples: v.Rows, Missing: v.Missing, Bits: v.Bits,
		Decoded: v.Decoded, Bytes: v.Bytes, Holders: v.Holders, Origins: v.Origins, Liars: len(v.Liars),
		TookMS: v.Took.Milliseconds(), Causes: map[string]int{}, Ledger: v.Ledger, Explains: v.Explain(),
	}
	for _, c := range v.Causes {
		r.Causes[string(c)]++
	}
	if v.Err != "" {
		r.Reason = v.Err
		if v.Rows == 0 {
			r.Explains = "No row was asked for, so this shows nothing about the block. Try again later."
		}
	}
	if v.Found.Status == ledger.Certified {
		o := v.Found.Outcome
		r.Height, r.Power, r.Total = o.Height, o.Outcome.Power, o.Outcome.Total
	}
	return r
}
