package config

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
)

// Size is a number of bytes that people write as 200GB or 64MiB.
type Size int64

// String returns the size as people read it.
func (s *Size) String() string {
	if *s == 0 {
		return "0"
	}
	return humanize.IBytes(uint64(*s))
}

// Set reads a size.
func (s *Size) Set(text string) error {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > 1<<62 || n == 0 && strings.ContainsAny(text, "123456789") { // 0 is no limit, half a byte is none
		return fmt.Errorf("%q is not a size such as 200GB or 64MiB", text)
	}
	*s = Size(n)
	return nil
}

// Type names the value in help texts.
func (s *Size) Type() string { return "size" }
