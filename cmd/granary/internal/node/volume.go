package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"granary/cmd/granary/internal/durable"
)

// ErrVolume reports that the month's volume is used up.
var ErrVolume = errors.New("the month's volume is used up")

// trafficFile, in the home, keeps what a month's torrents took.
const trafficFile = "traffic.json"

// Traffic is what the sockets of all torrents carried in one calendar month of
// local time: payload and protocol, without what TCP and IP add.
type Traffic struct {
	Month    string `json:"month"`    // "2026-11"
	Sent     int64  `json:"sent"`     // bytes
	Received int64  `json:"received"` // bytes
	Limit    int64  `json:"limit"`    // of both together; 0: none
}

// volume counts traffic and ends it at a limit that holds over crashes: the
// file says beforehand that a portion is used, so what a killed node had used
// of it is never more than what the next one counts.
type volume struct {
	path    string
	limit   int64
	now     func() time.Time
	portion int64

	mu     sync.Mutex
	used   Traffic // guarded by mu
	other  []month // guarded by mu: of other months, as a clock that is set shows them
	booked int64   // guarded by mu: bytes that the file says are used
	err    error   // guarded by mu: why the file cannot be written; then nothing passes
}

// traffic is the file. Booked is at least Sent + Received, and equal to it
// after a clean stop.
type traffic struct {
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

// maxMonths bounds the other months that are remembered: those used last.
const maxMonths = 12

func openVolume(path string, limit int64, now func() time.Time) (*volume, error) {
	v := &volume{path: path, limit: limit, now: now, portion: 64 << 20}
	if limit > 0 {
		v.portion = min(max(limit/1000, 1<<20), v.portion)
	}
	v.used = Traffic{Month: v.thisMonth(), Limit: limit}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	var f traffic
	if err == nil {
		err = json.Unmarshal(raw, &f)
	}
	for _, m := range f.Other {
		if err == nil && (m.Sent < 0 || m.Received < 0) {
			err = errors.New("its numbers contradict each other")
		}
	}
	if err == nil && (f.Sent < 0 || f.Received < 0 || f.Booked < f.Sent+f.Received) {
		err = errors.New("its numbers contradict each other")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s (delete it to count this month from zero): %w", path, err)
	}
	// What was booked and perhaps not used counts as sent.
	v.used = Traffic{Month: f.Month, Sent: f.Booked - f.Received, Received: f.Received, Limit: limit}
	v.booked, v.other = f.Booked, f.Other
	v.turn()
	return v, nil
}

func (v *volume) thisMonth() string { return v.now().Format("2006-01") }

// spend is swarm.Config.Spend.
func (v *volume) spend(sent, received int) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.turn()
	total := v.used.Sent + v.used.Received
	if v.err != nil {
		return v.err
	}
	if v.limit > 0 && (total+int64(sent) > v.limit || total == v.limit) {
		v.used.Received += int64(received) // it came all the same
		return fmt.Errorf("%w: %d of %d bytes in %s", ErrVolume, total, v.limit, v.used.Month)
	}
	v.used.Sent += int64(sent)
	v.used.Received += int64(received)
	if total = v.used.Sent + v.used.Received; total > v.booked {
		v.err = v.book(total + v.portion)
	}
	return v.err
}

// turn begins a new month, or goes on with an old one: the clock may be set
// back, and forth again, and no month may have more than its own. v.mu is held.
func (v *volume) turn() {
	now := v.thisMonth()
	if now == v.used.Month {
		return
	}
	if v.used.Sent+v.used.Received > 0 {
		v.other = append(v.other, month{v.used.Month, v.used.Sent, v.used.Received})
		v.other = v.other[max(0, len(v.other)-maxMonths):]
	}
	v.used, v.booked = Traffic{Month: now, Limit: v.limit}, 0
	v.other = slices.DeleteFunc(v.other, func(m month) bool {
		if m.Month == now {
			v.used.Sent, v.used.Received = m.Sent, m.Received
		}
		return m.Month == now
	})
}

// book writes that so many bytes are used. v.mu is held.
func (v *volume) book(bytes int64) error {
	raw, err := json.Marshal(traffic{month{v.used.Month, v.used.Sent, v.used.Received}, bytes, v.other})
	if err != nil {
		return err
	}
	v.booked = bytes
	return durable.Write(v.path, append(raw, '\n'), 0o644)
}

// spent returns ErrVolume once nothing more may pass.
func (v *volume) spent() error { return v.spend(0, 0) }

func (v *volume) traffic() Traffic {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.turn()
	return v.used
}

// close writes what was really used.
func (v *volume) close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if total := v.used.Sent + v.used.Received; total != v.booked {
		return v.book(total)
	}
	return nil
}
