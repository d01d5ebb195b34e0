package ledger

import (
	"encoding/json"
	"fmt"
	"time"
)

// Params are the numbers that a network agrees on. Durations are whole
// milliseconds.
type Params struct {
	// Heartbeat is the longest time between two heights. A head older than two
	// heartbeats is stale. A height carries the median of the clocks that signed
	// the one before it, so its time can lie a heartbeat in the past.
	Heartbeat time.Duration

	// AnnounceWindow is how long an announcement awaits its certificate, from the
	// time of the height that follows it.
	AnnounceWindow time.Duration

	// SamplingGrace is how long after its certificate a block may still be on its
	// way to its custodians: missing rows are no verdict before.
	SamplingGrace time.Duration

	// RetryRound is how long a light node waits before it asks again.
	RetryRound time.Duration

	// Custody is how many of the 64 groups a custodian owes, 1 to 64.
	Custody int

	// Allowance is what a key without an account can spend, in credits, and
	// AllowancePerDay how much of that all newcomers of one day get together.
	// Keys are free: both are 0 wherever credits are worth something.
	Allowance, AllowancePerDay int64

	// MaxPending is how many bytes of content may await a certificate.
	MaxPending int64

	// VoteWindow is how long a proposal can be voted on.
	VoteWindow time.Duration

	// NameTerm is for how long a name is paid at a time, and NameCost what that
	// costs, in credits.
	NameTerm time.Duration
	NameCost int64

	// Fee is the least that an announcement, a transfer or a step of a name costs,
	// in credits: what is in the log stays on the disk of every node. See Price.
	Fee int64
}

// defaultFee is the price of 2.7 KB kept for ten years: about what a transfer
// leaves in the store of a full node (docs/design/0008-fees.md).
const defaultFee = 1e7

// DefaultParams returns what a large network runs with.
func DefaultParams() Params {
	return Params{
		Heartbeat:      time.Minute,
		AnnounceWindow: 10 * time.Minute,
		SamplingGrace:  10 * time.Second,
		RetryRound:     30 * time.Second,
		Custody:        4,
		MaxPending:     1 << 30,
		VoteWindow:     7 * 24 * time.Hour,
		NameTerm:       365 * 24 * time.Hour,
		NameCost:       1e10, // as much as 27 MB kept for a year
		Fee:            defaultFee,
	}
}

// DevnetParams returns what a network on one machine runs with: short times,
// every custodian owes everything, and newcomers can publish.
func DevnetParams() Params {
	return Params{
		Heartbeat:       2 * time.Second,
		AnnounceWindow:  20 * time.Second,
		SamplingGrace:   2 * time.Second,
		RetryRound:      time.Second,
		Custody:         64,
		Allowance:       1 << 40, // a TiB for a day, or 256 MiB for eleven years
		AllowancePerDay: 1 << 50,
		MaxPending:      1 << 30,
		VoteWindow:      time.Hour,
		NameTerm:        30 * 24 * time.Hour,
		NameCost:        1e9,
		Fee:             defaultFee,
	}
}

const (
	// maxDuration bounds every other duration: nothing here takes longer than a
	// month.
	maxDuration = 31 * 24 * time.Hour

	// maxTerm bounds the term of a name.
	maxTerm = 3650 * 24 * time.Hour
)

// Validate returns ErrMalformed unless every parameter is in its range.
func (p Params) Validate() error {
	for _, d := range []struct {
		name string
		time.Duration
		max time.Duration
	}{
		{"heartbeat", p.Heartbeat, maxDuration},
		{"announce_window", p.AnnounceWindow, maxDuration},
		{"sampling_grace", p.SamplingGrace, maxDuration},
		{"retry_round", p.RetryRound, maxDuration},
		{"vote_window", p.VoteWindow, maxDuration},
		{"name_term", p.NameTerm, maxTerm},
	} {
		if d.Duration < time.Millisecond || d.Duration > d.max || d.Duration%time.Millisecond != 0 {
			return malformed("%s of %s, want whole milliseconds up to %s", d.name, d.Duration, d.max)
		}
	}
	if p.Custody < 1 || p.Custody > 64 {
		return malformed("custody of %d groups, want 1 to 64", p.Custody)
	}
	if p.Allowance < 0 || p.Allowance > p.AllowancePerDay || p.AllowancePerDay > MaxCredits {
		return malformed("allowance of %d credits, %d per day", p.Allowance, p.AllowancePerDay)
	}
	if p.MaxPending < 1 || p.MaxPending > MaxCredits {
		return malformed("max_pending of %d bytes", p.MaxPending)
	}
	if p.NameCost < 0 || p.NameCost > MaxCredits/MaxTerms {
		return malformed("name_cost of %d credits", p.NameCost)
	}
	if p.Fee < 0 || p.Fee > MaxCredits {
		return malformed("fee of %d credits", p.Fee)
	}
	if p.Allowance > 0 && p.Allowance < p.Fee {
		return malformed("allowance of %d credits, less than the fee of %d: newcomers could not announce", p.Allowance, p.Fee)
	}
	return nil
}

// paramsJSON is how Params stand in the genesis.
type paramsJSON struct {
	Heartbeat       string `json:"heartbeat"`
	AnnounceWindow  string `json:"announce_window"`
	SamplingGrace   string `json:"sampling_grace"`
	RetryRound      string `json:"retry_round"`
	Custody         int    `json:"custody"`
	Allowance       int64  `json:"allowance"`
	AllowancePerDay int64  `json:"allowance_per_day"`
	MaxPending      int64  `json:"max_pending"`
	VoteWindow      string `json:"vote_window"`
	NameTerm        string `json:"name_term"`
	NameCost        int64  `json:"name_cost"`
	Fee             int64  `json:"fee"`
}

// MarshalJSON implements json.Marshaler; durations are written like 1m30s.
func (p Params) MarshalJSON() ([]byte, error) {
	return json.Marshal(paramsJSON{
		p.Heartbeat.String(), p.AnnounceWindow.String(), p.SamplingGrace.String(), p.RetryRound.String(),
		p.Custody, p.Allowance, p.AllowancePerDay, p.MaxPending,
		p.VoteWindow.String(), p.NameTerm.String(), p.NameCost, p.Fee,
	})
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Params) UnmarshalJSON(data []byte) error {
	var j paramsJSON
	if err := unmarshalJSON(data, &j); err != nil {
		return err
	}
	q := Params{Custody: j.Custody, Allowance: j.Allowance, AllowancePerDay: j.AllowancePerDay, MaxPending: j.MaxPending, NameCost: j.NameCost, Fee: j.Fee}
	for _, d := range []struct {
		name, text string
		to         *time.Duration
	}{
		{"heartbeat", j.Heartbeat, &q.Heartbeat},
		{"announce_window", j.AnnounceWindow, &q.AnnounceWindow},
		{"sampling_grace", j.SamplingGrace, &q.SamplingGrace},
		{"retry_round", j.RetryRound, &q.RetryRound},
		{"vote_window", j.VoteWindow, &q.VoteWindow},
		{"name_term", j.NameTerm, &q.NameTerm},
	} {
		var err error
		if *d.to, err = time.ParseDuration(d.text); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	*p = q
	return nil
}

// paramsBody is Params as they are hashed, stored and proposed.
type paramsBody struct {
	_                                                    struct{} `cbor:",toarray"`
	Heartbeat, AnnounceWindow, SamplingGrace, RetryRound int64    // milliseconds
	Custody, Allowance, AllowancePerDay, MaxPending      int64
	VoteWindow, NameTerm                                 int64 // milliseconds
	NameCost, Fee                                        int64
}

func (p Params) body() paramsBody {
	return paramsBody{
		Heartbeat: p.Heartbeat.Milliseconds(), AnnounceWindow: p.AnnounceWindow.Milliseconds(),
		SamplingGrace: p.SamplingGrace.Milliseconds(), RetryRound: p.RetryRound.Milliseconds(),
		Custody: int64(p.Custody), Allowance: p.Allowance, AllowancePerDay: p.AllowancePerDay, MaxPending: p.MaxPending,
		VoteWindow: p.VoteWindow.Milliseconds(), NameTerm: p.NameTerm.Milliseconds(), NameCost: p.NameCost, Fee: p.Fee,
	}
}

func (b paramsBody) params() Params {
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	return Params{
		Heartbeat: ms(b.Heartbeat), AnnounceWindow: ms(b.AnnounceWindow), SamplingGrace: ms(b.SamplingGrace), RetryRound: ms(b.RetryRound),
		Custody: int(b.Custody), Allowance: b.Allowance, AllowancePerDay: b.AllowancePerDay, MaxPending: b.MaxPending,
		VoteWindow: ms(b.VoteWindow), NameTerm: ms(b.NameTerm), NameCost: b.NameCost, Fee: b.Fee,
	}
}

// checked returns the parameters that a stranger's b stands for, or ErrMalformed.
func (b paramsBody) checked() (Params, error) {
	for _, n := range []int64{b.Heartbeat, b.AnnounceWindow, b.SamplingGrace, b.RetryRound, b.VoteWindow, b.NameTerm} {
		if n < 1 || n > maxTerm.Milliseconds() {
			return Params{}, malformed("duration of %d ms", n)
		}
	}
	if b.Custody < 1 || b.Custody > 64 {
		return Params{}, malformed("custody of %d groups", b.Custody)
	}
	p := b.params()
	return p, p.Validate()
}
