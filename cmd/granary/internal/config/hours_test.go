package config_test

import (
	"testing"
	"time"

	"granary/cmd/granary/internal/config"
)

func TestHours(t *testing.T) {
	for _, c := range []struct {
		hours  string
		open   []string
		closed []string
	}{
		{"", []string{"00:00", "12:00", "23:59"}, nil},
		{"22:00-07:00", []string{"22:00", "23:59", "00:00", "06:59"}, []string{"07:00", "12:00", "21:59"}},
		{"08:30-17:15", []string{"08:30", "12:00", "17:14"}, []string{"00:00", "08:29", "17:15", "23:00"}},
		{"00:00-06:00", []string{"00:00", "05:59"}, []string{"06:00", "23:59"}},
	} {
		var h config.Hours
		if err := h.Set(c.hours); err != nil {
			t.Fatal(err)
		}
		if h.String() != c.hours {
			t.Errorf("%q reads as %q", c.hours, h.String())
		}
		for want, times := range map[bool][]string{true: c.open, false: c.closed} {
			for _, at := range times {
				when, err := time.Parse("15:04", at)
				if err != nil {
					t.Fatal(err)
				}
				if got := h.Open(when); got != want {
					t.Errorf("%q at %s: open is %v, want %v", c.hours, at, got, want)
				}
			}
		}
	}
	for _, bad := range []string{"22", "22:00", "22:00-", "-", "25:00-07:00", "22:00-22:00", "22:00-07:60", "10pm-7am"} {
		if err := new(config.Hours).Set(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
