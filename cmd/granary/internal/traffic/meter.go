// Package traffic counts what the torrents of a home carry in a month, and ends it
// at the volume that its owner allows.
package traffic

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"granary/cmd/granary/internal/durable"
)

// ErrVolume reports that the month's volume is used up.
var ErrVolume = errors.New("the month's volume is used up")

// Used is what the sockets of all torrents carried in one calendar month of
// local time: payload and protocol, without what TCP and IP add.
type Used struct {
	Month    string `json:"month"`    // "2026-11"
	Sent     int64  `json:"sent"`     // bytes
	Received int64  `json:"received"` // bytes
	Limit    int64  `json:"limit"`    // of both together; 0: none
}

// Meter counts traffic and ends it at a limit that holds over crashes: the
// file says beforehand that a portion is used, so what a killed node had used
// of it is never more than what the next one counts.
type Meter struct {
	path    string
	limit   int64
	now     func() time.Time
	portion int64

	mu     sync.Mutex
	used   Used    // guarded by mu
	other  []month // guarded by mu: of other months, as a clock that is set shows them
	booked int64   // guarded by mu: bytes that the file says are used
}

// record is the file. Booked is at least Sent + Received, and equal to it
// after a clean stop.
type record struct {
	month
	Booked int64   `json:"booked"`
	Other  []month `json:"other,omitempty"`
}

// month is what one month took.
type month struct {
	Month    string `json:"month"`
	Sent     int64  `json:"sent"`
	Received int64  `json:"received"`
}

const (
	maxMonths = 12       // other months that are remembered: those used last
	maxFile   = 64 << 10 // ten times what they take
	maxBytes  = 1 << 60  // more than any month takes, so that sums stay numbers
)

// Open goes on with the file at path, which need not be there. limit is in bytes a
// calendar month, of both directions together; 0: none. now is the clock.
func Open(path string, limit int64, now func() time.Time) (*Meter, error) {
	m := &Meter{path: path, limit: limit, now: now, portion: 64 << 20}
	if limit > 0 {
		m.portion = min(max(limit/1000, 1<<20), m.portion)
	}
	m.used = Used{Month: m.thisMonth(), Limit: limit}
	raw, err := durable.Read(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	var f record
	if err == nil {
		err = json.Unmarshal(raw, &f)
	}
	if err == nil {
		err = f.check()
	}
	if err != nil {
		return nil, fmt.Errorf("read %s (delete it to count this month from zero): %w", path, err)
	}
	// What was booked and perhaps not used counts as sent.
	m.used = Used{Month: f.Month, Sent: f.Booked - f.Received, Received: f.Received, Limit: limit}
	m.booked, m.other = f.Booked, f.Other
	m.turn()
	return m, nil
}

// check returns an error if the numbers cannot be true.
func (r record) check() error {
	for _, x := range append(r.Other, r.month) {
		if min(x.Sent, x.Received) < 0 || max(x.Sent, x.Received) > maxBytes {
			return errors.New("its numbers are not of bytes")
		}
	}
	if r.Booked < r.Sent+r.Received || r.Booked > maxBytes {
		return errors.New("what is booked contradicts what was used")
	}
	return nil
}

func (m *Meter) thisMonth() string { return m.now().Format("2006-01") }

// Spend counts bytes that are about to be sent and bytes that came. It returns
// ErrVolume if they may not be sent, or nothing more may come; see swarm.Config.
// Under a limit nothing passes either while the file cannot be written, as on a
// full disk; every call tries again.
func (m *Meter) Spend(sent, received int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn()
	total := m.used.Sent + m.used.Received
	if m.limit > 0 && (total+int64(sent) > m.limit || total == m.limit) {
		m.used.Received += int64(received) // it came all the same
		return fmt.Errorf("%w: %d of %d bytes in %s", ErrVolume, total, m.limit, m.used.Month)
	}
	m.used.Sent += int64(sent)
	m.used.Received += int64(received)
	if total = m.used.Sent + m.used.Received; total > m.booked {
		if err := m.book(total + m.portion); err != nil && m.limit > 0 {
			m.booked = 0 // whatever the file says now, the next call writes it
			return err
		}
	}
	return nil
}

// turn begins a new month, or goes on with an old one: the clock may be set
// back, and forth again, and no month may have more than its own. m.mu is held.
func (m *Meter) turn() {
	now := m.thisMonth()
	if now == m.used.Month {
		return
	}
	if m.used.Sent+m.used.Received > 0 {
		m.other = append(m.other, month{m.used.Month, m.used.Sent, m.used.Received})
		m.other = m.other[max(0, len(m.other)-maxMonths):]
	}
	m.used, m.booked = Used{Month: now, Limit: m.limit}, 0
	m.other = slices.DeleteFunc(m.other, func(x month) bool {
		if x.Month == now {
			m.used.Sent, m.used.Received = x.Sent, x.Received
		}
		return x.Month == now
	})
}

// book writes that so many bytes are used. m.mu is held.
func (m *Meter) book(bytes int64) error {
	raw, err := json.Marshal(record{month{m.used.Month, m.used.Sent, m.used.Received}, bytes, m.other})
	if err != nil {
		return err
	}
	m.booked = bytes
	return durable.Write(m.path, append(raw, '\n'), 0o644)
}

// Spent returns ErrVolume once nothing more may pass.
func (m *Meter) Spent() error { return m.Spend(0, 0) }

// Used returns what this month took so far.
func (m *Meter) Used() Used {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn()
	return m.used
}

// Close writes what was really used.
func (m *Meter) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if total := m.used.Sent + m.used.Received; total != m.booked {
		return m.book(total)
	}
	return nil
}
