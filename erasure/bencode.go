package erasure

import (
	"fmt"
	"math"
	"strconv"
)

// maxDepth bounds the nesting of bencoded values that are skipped.
const maxDepth = 16

func appendInt(b []byte, n int64) []byte {
	b = append(b, 'i')
	b = strconv.AppendInt(b, n, 10)
	return append(b, 'e')
}

func appendString[S ~string | ~[]byte](b []byte, s S) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	return append(b, s...)
}

// decoder reads canonical bencoding from the front of b. The first error
// stays; after it every call returns zero values.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
	d.b = nil
}

// peek returns the next byte, 0 at the end.
func (d *decoder) peek() byte {
	if len(d.b) == 0 {
		return 0
	}
	return d.b[0]
}

// literal reads exactly s.
func (d *decoder) literal(s string) {
	if len(d.b) < len(s) || string(d.b[:len(s)]) != s {
		d.fail("want %q", s)
		return
	}
	d.b = d.b[len(s):]
}

// digits reads a number without sign or leading zeros, and the byte after it.
func (d *decoder) digits(end byte) int64 {
	var n int64
	for i, c := range d.b {
		switch {
		case c == end && i > 0:
			if i > 1 && d.b[0] == '0' {
				d.fail("number with a leading zero")
				return 0
			}
			d.b = d.b[i+1:]
			return n
		case c < '0' || c > '9' || n > (math.MaxInt64-9)/10:
			d.fail("bad number")
			return 0
		}
		n = 10*n + int64(c-'0')
	}
	d.fail("number without end")
	return 0
}

// int reads an integer.
func (d *decoder) int() int64 {
	d.literal("i")
	if d.peek() != '-' {
		return d.digits('e')
	}
	d.literal("-")
	n := d.digits('e')
	if n == 0 {
		d.fail("negative zero")
	}
	return -n
}

// string reads a byte string; the result is a part of the input.
func (d *decoder) string() []byte {
	n := d.digits(':')
	if n > int64(len(d.b)) {
		d.fail("string of %d bytes in %d", n, len(d.b))
		return nil
	}
	s := d.b[:n:n]
	d.b = d.b[n:]
	return s
}

// dict reads a dictionary and calls value with each key, in strictly ascending
// order; value must read the key's value.
func (d *decoder) dict(value func(key string)) {
	d.literal("d")
	last, first := "", true
	for d.err == nil && d.peek() != 'e' {
		key := string(d.string())
		if !first && key <= last {
			d.fail("key %.40q after %.40q", key, last)
		}
		last, first = key, false
		if d.err == nil {
			value(key)
		}
	}
	d.literal("e")
}

// raw reads any value and returns its bytes, a part of the input.
func (d *decoder) raw() []byte {
	from := d.b
	d.skip(maxDepth)
	if d.err != nil {
		return nil
	}
	n := len(from) - len(d.b)
	return from[:n:n]
}

func (d *decoder) skip(depth int) {
	switch c := d.peek(); {
	case depth == 0:
		d.fail("nested deeper than %d", maxDepth)
	case c == 'i':
		d.int()
	case c == 'd':
		d.dict(func(string) { d.skip(depth - 1) })
	case c == 'l':
		d.literal("l")
		for d.err == nil && d.peek() != 'e' {
			d.skip(depth - 1)
		}
		d.literal("e")
	default:
		d.string()
	}
}
