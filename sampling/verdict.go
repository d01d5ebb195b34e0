package sampling

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"granary/erasure"
)

// DecodedBits is the confidence of a verdict that rests on the whole block:
// what is left is a collision of SHA-256.
const DecodedBits = 128

// State is the outcome of a test. Only Available is final: after the others,
// ask again.
type State string

// The states.
const (
	Available    State = "available"
	Unavailable  State = "unavailable"
	Inconclusive State = "inconclusive"
)

// Reason says why a verdict is not Available, in words that follow "because".
type Reason string

// The reasons. The first two make a verdict Unavailable, the others
// Inconclusive.
const (
	Withheld Reason = "its holders do not serve it, while they serve another block"
	NotClean Reason = "its publisher lied: it is not what its ID commits to"

	NoHolders      Reason = "nobody is known who may hold it"
	NobodyAnswered Reason = "nobody answered"
	TooFewAnswers  Reason = "too few of its holders could be reached or had time to answer"
	TooEarly       Reason = "it may still be on its way to its holders"
	HeadStale      Reason = "the head of the ledger is stale"
	NoControl      Reason = "no other block is known to be available, to compare with"
	ControlMissing Reason = "rows of a block known to be available are missing too"
	Stopped        Reason = "the test was stopped before its end"
)

// Cause says how asking for one row ended.
type Cause string

// The causes. A row that several holders were asked for has the first of these
// that any of them gave.
const (
	Verified       Cause = "verified"
	BadCombination Cause = "bad row: combination" // the publisher's lie
	BadPath        Cause = "bad row: path"        // the holder's lie, as are the next two
	BadLength      Cause = "bad row: length"
	BadProtocol    Cause = "bad row: protocol"
	Pending        Cause = "pending"
	Busy           Cause = "busy"
	NotHeld        Cause = "not held"
	Timeout        Cause = "timeout"
	Unreachable    Cause = "unreachable"
	NotAwaited     Cause = "not waited for" // the test was decided without it, or stopped
	NoHolder       Cause = "no holders"
)

// before reports whether c says more about a row than d: the order above.
func (c Cause) before(d Cause) bool {
	order := []Cause{
		Verified, BadCombination, BadPath, BadLength, BadProtocol, Pending, Busy, NotHeld, Timeout, Unreachable, NotAwaited, NoHolder,
	}
	return slices.Index(order, c) < slices.Index(order, d)
}

// answered reports whether the holder said anything.
func (c Cause) answered() bool {
	return c != Timeout && c != Unreachable && c != NotAwaited && c != NoHolder
}

// lie reports whether the holder sent what is not the row. A wrong combination
// is none: that row does stand under the block's roots.
func (c Cause) lie() bool { return c == BadPath || c == BadLength || c == BadProtocol }

// Control is what became of the rows of the block to compare with; the zero
// Control if none were asked for.
type Control struct {
	ID             erasure.ID
	Rows, Verified int
}

// Verdict is what a test found. Missing is Rows less Verified: rows that were
// asked for and that nobody handed over verified.
type Verdict struct {
	ID     erasure.ID
	State  State
	Reason Reason // empty if Available
	Bits   int    // confidence: -log2 of the probability named by Explain; 0 unless Available

	Rows, Verified, Missing int
	Tolerated               int           // how many rows might have been missing at most
	Causes                  map[int]Cause // how every row asked for ended, by row
	Draw                    []int         // the rows drawn, in order; not all need have been asked for
	Decoded                 bool          // the content was decoded, and encoded again to the same ID
	Fetched                 int           // verified rows at hand in the end, beyond Verified if decoding was tried
	Need                    int           // K: verified rows that suffice to decode
	Control                 Control

	Holders int      // peers asked
	Serving int      // of them, those that handed over a verified row
	Origins int      // from how many parts of the network those answered; see Config.Origin
	Liars   []Holder // those that sent something else as the row, sorted

	// Bytes counts rows and paths handed over, whether verified, wrong, of the
	// control or second copies. Requests, framing and rows broken off before
	// their end are not in it.
	Bytes int64
	Took  time.Duration
}

// String returns the verdict in one line, for logs.
func (v Verdict) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", v.ID.Short(), v.State)
	if v.Reason != "" {
		fmt.Fprintf(&b, " (%s)", v.Reason)
	}
	fmt.Fprintf(&b, ": %d of %d rows verified", v.Verified, v.Rows)
	if v.Decoded {
		b.WriteString(", decoded")
	}
	if v.State == Available {
		fmt.Fprintf(&b, ", %d bits", v.Bits)
	}
	fmt.Fprintf(&b, ", %d bytes, %v", v.Bytes, v.Took.Round(time.Millisecond))
	return b.String()
}

// Explain says in a few sentences what was done, what it shows and what it does
// not.
func (v Verdict) Explain() string {
	asked := fmt.Sprintf("%d random rows were asked for, %d were missing", v.Rows, v.Missing)
	fetched := fmt.Sprintf("%d verified rows were fetched", v.Fetched)
	switch {
	case v.State == Available && v.Decoded:
		return fetched + ". They decode, and what they decode to encodes to this ID again: the whole block was there for us. " +
			"It does not show that it is there for others, or will be later."
	case v.State == Available:
		return fmt.Sprintf("%s. Had fewer than 75 %% of the rows been servable and consistent, this test would have passed with "+
			"probability below 2^-%d. It does not show that others were served, or will be later.", asked, v.Bits)
	case v.Reason == NotClean && v.Decoded:
		return fmt.Sprintf("%s, and what they decode to does not encode to this ID again. So %s. %s", fetched, v.Reason, final)
	case v.Reason == NotClean:
		return fmt.Sprintf("A row that stands under the block's roots does not fit its proof vector. So %s. %s", v.Reason, final)
	case v.State == Unavailable:
		return fmt.Sprintf("%s; at most %d may be. The holders known were asked in two rounds, and %d of %d rows of block %s came "+
			"through them at the same time. %sIt may come back: ask again later.",
			asked, v.Tolerated, v.Control.Verified, v.Control.Rows, v.Control.ID.Short(), v.decoding())
	default:
		return fmt.Sprintf("%s. That shows nothing about the block: %s. %sAsk again later.", asked, v.Reason, v.decoding())
	}
}

const final = "No holder is to blame, and asking again changes nothing."

// decoding says what is known of the rows that suffice to decode.
func (v Verdict) decoding() string {
	switch tried := v.Fetched > v.Verified || v.Tolerated == v.Need; {
	case tried:
		return fmt.Sprintf("Of the %d rows that suffice to decode it only %d could be fetched. ", v.Need, v.Fetched)
	case v.State == Unavailable:
		return "It may still decode from other rows. "
	}
	return ""
}
