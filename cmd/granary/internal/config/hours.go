package config

import (
	"fmt"
	"strings"
	"time"
)

// Hours is a daily window of local time, "22:00-07:00"; the zero Hours are all
// hours.
type Hours struct {
	from, to int // minutes after midnight; equal: all hours
}

const clock = "15:04"

// Open reports whether t lies in the window: its first minute does, the minute
// after its last does not.
func (h *Hours) Open(t time.Time) bool {
	at := t.Hour()*60 + t.Minute()
	switch {
	case h.from == h.to:
		return true
	case h.from < h.to:
		return h.from <= at && at < h.to
	}
	return at >= h.from || at < h.to
}

// String returns the window as people write it; "" for all hours.
func (h *Hours) String() string {
	if h.from == h.to {
		return ""
	}
	return fmt.Sprintf("%02d:%02d-%02d:%02d", h.from/60, h.from%60, h.to/60, h.to%60)
}

// Set reads a window; "" is all hours.
func (h *Hours) Set(text string) error {
	if text == "" {
		*h = Hours{}
		return nil
	}
	from, to, ok := strings.Cut(text, "-")
	begin, err := time.Parse(clock, strings.TrimSpace(from))
	end, endErr := time.Parse(clock, strings.TrimSpace(to))
	if !ok || err != nil || endErr != nil || begin.Equal(end) {
		return fmt.Errorf("%q is not a time of day such as 22:00-07:00", text)
	}
	*h = Hours{from: begin.Hour()*60 + begin.Minute(), to: end.Hour()*60 + end.Minute()}
	return nil
}

// Type names the value in help texts.
func (h *Hours) Type() string { return "hours" }
