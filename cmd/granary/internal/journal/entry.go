package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"granary/sampling"
)

const (
	maxLine   = 1024    // bytes of one verdict, newline included
	maxFile   = 2 << 20 // bytes of verdicts and of verdicts.old each: 4,096 verdicts at least, 14,000 of usual length
	maxReason = 160     // bytes
	day       = 24 * time.Hour
)

// Entry is one verdict as the journal has it.
type Entry struct {
	Time    time.Time        `json:"time"` // when it was reached
	ID      string           `json:"id"`
	Index   uint64           `json:"index,omitempty"` // log index of the announcement
	Verdict sampling.State   `json:"verdict"`
	Reason  string           `json:"reason,omitempty"`
	Bits    int              `json:"bits,omitempty"`
	Decoded bool             `json:"decoded,omitempty"`
	Samples int              `json:"samples"`
	Missing int              `json:"missing"`
	Causes  map[string]int   `json:"causes,omitempty"`       // how asking for the rows ended
	Rows    map[string][]int `json:"missing_rows,omitempty"` // which those were that are missing, as far as there is room
	Holders int              `json:"holders"`
	Serving int              `json:"serving"`
	Origins int              `json:"origins"` // networks (/24, /48) that verified rows came from
	Liars   int              `json:"liars,omitempty"`
	Bytes   int64            `json:"bytes"`
	TookMS  int64            `json:"took_ms"`
	Attempt int              `json:"attempt,omitempty"` // 1 for the first test with these rows
}

// NewEntry returns v as the journal has it.
func NewEntry(at time.Time, index uint64, v sampling.Verdict) Entry {
	e := Entry{
		Time: at.UTC().Truncate(time.Millisecond), ID: v.ID.String(), Index: index,
		Verdict: v.State, Reason: string(v.Reason), Bits: v.Bits, Decoded: v.Decoded,
		Samples: v.Rows, Missing: v.Missing, Causes: map[string]int{}, Rows: map[string][]int{},
		Holders: v.Holders, Serving: v.Serving, Origins: v.Origins, Liars: len(v.Liars), Bytes: v.Bytes, TookMS: v.Took.Milliseconds(),
	}
	for _, row := range v.Draw {
		cause, asked := v.Causes[row]
		if !asked {
			continue
		}
		e.Causes[string(cause)]++
		if cause != sampling.Verified {
			e.Rows[string(cause)] = append(e.Rows[string(cause)], row)
		}
	}
	return e
}

// encode returns e as one line of at most maxLine bytes, for which it gives up
// what is least missed.
func (e Entry) encode() ([]byte, error) {
	e.Reason = clean(e.Reason)
	for {
		var line bytes.Buffer
		enc := json.NewEncoder(&line)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(e); err != nil {
			return nil, fmt.Errorf("encode verdict: %w", err)
		}
		if line.Len() <= maxLine {
			return line.Bytes(), nil
		}
		if len(e.Rows) == 0 {
			panic(fmt.Sprintf("BUG: a verdict of %d bytes: %s", line.Len(), &line))
		}
		shorter := make(map[string][]int)
		for cause, rows := range e.Rows {
			if half := rows[:len(rows)/2]; len(half) > 0 {
				shorter[cause] = half
			}
		}
		e.Rows = shorter
	}
}

// clean returns a reason without control characters, cut to maxReason bytes.
func clean(reason string) string {
	reason = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(reason, "?"))
	for len(reason) > maxReason {
		_, n := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-n]
	}
	return reason
}

// Record appends a verdict, and returns once it is on disk.
func (j *Journal) Record(e Entry) error {
	line, err := e.encode()
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.spent = append(j.spent, cost{e.Time, e.Bytes})
	return verdicts(j.dir).append(line)
}

func verdicts(dir string) lines {
	path := filepath.Join(dir, "verdicts")
	return lines{path: path, older: path + ".old", most: maxFile}
}

// Spent is how many bytes the verdicts of the last 24 hours have cost. Those of a
// clock that was ahead by more than that do not count.
func (j *Journal) Spent(now time.Time) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.spent = slices.DeleteFunc(j.spent, func(c cost) bool { return now.Sub(c.at).Abs() >= day })
	var all int64
	for _, c := range j.spent {
		all += c.bytes
	}
	return all
}

// History reads the verdicts of the journal in dir, oldest first; none if there
// is no journal. Lines that are damaged are skipped.
func History(dir string) (all []Entry, err error) {
	err = verdicts(dir).each(func(line []byte) {
		var e Entry
		if json.Unmarshal(line, &e) == nil {
			all = append(all, e)
		}
	})
	return all, err
}
