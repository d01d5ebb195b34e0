package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// Interval is a length of time that people write as 30d or 36h.
type Interval time.Duration

// String returns the interval as people read it.
func (i *Interval) String() string {
	if d := time.Duration(*i); d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return time.Duration(*i).String()
}

// Set reads an interval.
func (i *Interval) Set(text string) error {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			*i = Interval(time.Duration(n) * day)
			return nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		*i = Interval(d)
		return nil
	}
	return fmt.Errorf("%q is not an interval such as 30d or 36h", text)
}

// Type names the value in help texts.
func (i *Interval) Type() string { return "interval" }
