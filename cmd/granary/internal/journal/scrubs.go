package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"granary/erasure"
)

const (
	maxScrubs  = 1 << 20  // bytes of scrubs and of scrubs.old each
	sayAgain   = 30 * day // what stays as it is, is written once in so long
	lastScrubs = 10       // entries in a ScrubHistory
	maxCount   = 1 << 53  // of whatever an entry counts: a float of JSON's readers
)

// A Scrub says what became of one block that was not good, or is again, or sums
// up some that were looked at: then ID is empty.
type Scrub struct {
	Time     time.Time `json:"time"`           // when it was done
	Since    time.Time `json:"since,omitzero"` // of a sum: when it began
	By       string    `json:"by"`             // "node" or "command"
	ID       string    `json:"id,omitempty"`
	State    string    `json:"state,omitempty"` // "good", "repaired", "damaged" or "unchecked"
	Blocks   int64     `json:"blocks,omitempty"`
	Pieces   int64     `json:"pieces_checked,omitempty"`
	Bytes    int64     `json:"bytes_checked,omitempty"`
	Bad      int64     `json:"pieces_bad,omitempty"` // those of earlier scrubs included
	Repaired int64     `json:"pieces_repaired,omitempty"`
	Lost     int64     `json:"pieces_lost,omitempty"` // still damaged
	Mended   []string  `json:"mended,omitempty"`      // files replaced
	Err      string    `json:"error,omitempty"`
}

// ScrubHistory is what the journal of scrubs comes to.
type ScrubHistory struct {
	Since    time.Time `json:"since"`           // when the first entry began that is kept
	Blocks   int64     `json:"blocks_checked"`  // one that was checked twice counts twice
	Bytes    int64     `json:"bytes_checked"`   //
	Repaired int64     `json:"pieces_repaired"` //
	Mended   int64     `json:"files_mended"`    //
	Last     []Scrub   `json:"last"`            // the newest of blocks, 10 at most, oldest first
}

func (h *ScrubHistory) add(e Scrub) {
	began := e.Since
	if began.IsZero() {
		began = e.Time
	}
	if h.Since.IsZero() || began.Before(h.Since) {
		h.Since = began
	}
	if e.ID == "" {
		h.Blocks += e.Blocks
		h.Bytes += e.Bytes
		return
	}
	h.Repaired += e.Repaired
	h.Mended += int64(len(e.Mended))
	h.Last = append(h.Last, e)
	h.Last = h.Last[max(0, len(h.Last)-lastScrubs):]
}

// Scrubs is the journal of a home's scrubs. It is safe for concurrent use; one
// process writes it.
type Scrubs struct {
	files lines

	mu      sync.Mutex // guards the files and what follows
	read    bool       // they were
	last    map[string]Scrub
	history ScrubHistory
}

// NewScrubs returns the journal in home, which is read when it is first used.
func NewScrubs(home string) *Scrubs {
	return &Scrubs{files: scrubs(home), last: map[string]Scrub{}}
}

func scrubs(home string) lines {
	path := filepath.Join(home, "scrubs")
	return lines{path: path, older: path + ".old", most: maxScrubs}
}

// Record appends an entry, and returns once it is on disk. It leaves out a block
// that is good and was, or whose damage was told within 30 days and is the same.
func (s *Scrubs) Record(e Scrub) error {
	e.Time, e.Since = e.Time.UTC().Truncate(time.Second), e.Since.UTC().Truncate(time.Second)
	e.Err = clean(e.Err)
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return fmt.Errorf("encode scrub: %w", err)
	}
	if _, ok := parseScrub(line.Bytes()); !ok {
		return fmt.Errorf("a scrub that contradicts itself is not kept: %s", &line)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return err
	}
	if e.ID != "" && s.known(e) {
		return nil
	}
	if err := s.files.append(line.Bytes()); err != nil {
		return err
	}
	s.note(e)
	return nil
}

// known reports whether e tells nothing new. mu is held.
func (s *Scrubs) known(e Scrub) bool {
	was, ok := s.last[e.ID]
	if !ok || was.State == "good" || was.State == "repaired" {
		return e.State == "good"
	}
	return e.State == was.State && e.Lost == was.Lost && e.Err == was.Err && e.Repaired == 0 && len(e.Mended) == 0 &&
		e.Time.Before(was.Time.Add(sayAgain))
}

func (s *Scrubs) note(e Scrub) {
	s.history.add(e)
	if e.ID != "" {
		s.last[e.ID] = e
	}
}

// load reads the files, once. mu is held.
func (s *Scrubs) load() error {
	if s.read {
		return nil
	}
	err := s.files.each(func(line []byte) {
		if e, ok := parseScrub(line); ok {
			s.note(e)
		}
	})
	if s.read = err == nil; !s.read { // the next time reads all of it again
		s.last, s.history = map[string]Scrub{}, ScrubHistory{}
	}
	return err
}

// History sums up the journal.
func (s *Scrubs) History() (ScrubHistory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.load()
	h := s.history
	h.Last = slices.Clone(h.Last)
	return h, err
}

// ReadScrubs reads the journal of scrubs in home, oldest first; none if there is
// none. Lines that are damaged are skipped.
func ReadScrubs(home string) (all []Scrub, err error) {
	err = scrubs(home).each(func(line []byte) {
		if e, ok := parseScrub(line); ok {
			all = append(all, e)
		}
	})
	return all, err
}

// parseScrub reads a line, and reports whether Record may have written it.
func parseScrub(line []byte) (e Scrub, ok bool) {
	if len(line) > maxLine {
		return e, false
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return Scrub{}, false
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Scrub{}, false
	}
	counts := []int64{e.Blocks, e.Pieces, e.Bytes, e.Bad, e.Repaired, e.Lost}
	ok = !e.Time.IsZero() && (e.By == "node" || e.By == "command") &&
		slices.Min(counts) >= 0 && slices.Max(counts) <= maxCount && clean(e.Err) == e.Err
	for _, name := range e.Mended {
		ok = ok && slices.Contains([]string{"info", "layers", "proof", "content", "parity"}, name)
	}
	if e.ID == "" {
		return e, ok && e.Blocks > 0 && e.State == ""
	}
	ok = ok && e.Blocks == 0
	id, err := erasure.ParseID(e.ID)
	return e, ok && err == nil && id.String() == e.ID && e.Bad == e.Repaired+e.Lost && len(e.Mended) <= 5 &&
		slices.Contains([]string{"good", "repaired", "damaged", "unchecked"}, e.State)
}
