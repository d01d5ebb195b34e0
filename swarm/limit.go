package swarm

import (
	"context"
	"net"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

const (
	// What passes a socket at once. Connections take turns in such portions, so
	// a rate limit holds within an eighth of a second's worth of bytes, and no
	// connection waits long for another.
	maxPortion  = 64 << 10
	burstsASec  = 8
	minPortion  = 1 << 10
	smallWrite  = 2 << 10
	smallMayOwe = 250 * time.Millisecond
)

// limiter allows bytesPerSecond; nil, which allows everything, if that is 0.
func limiter(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	burst := min(max(bytesPerSecond/burstsASec, minPortion), 4<<20)
	return rate.NewLimiter(rate.Limit(bytesPerSecond), int(burst))
}

// portion is how many of n bytes may pass at once.
func portion(l *rate.Limiter, n int) int {
	if l == nil {
		return n
	}
	return min(n, maxPortion, l.Burst())
}

// receiveBuffer bounds what the system takes in for a connection before we
// read it, when downloads are limited: else every connection would begin with
// megabytes that nobody has paid for. An eighth of a second's worth lets one
// connection fill the limit at a round trip of as long.
func receiveBuffer(bytesPerSecond int64) int {
	return int(min(max(bytesPerSecond/burstsASec, 8<<10), 4<<20))
}

// conn is a connection whose bytes are counted and paced, whoever sends them
// and why: payload, protocol, handshakes, and what obfuscation adds. Only what
// TCP and IP add, some 3 to 4 %, is not seen.
type conn struct {
	net.Conn
	gate     *gate
	incoming bool
	remote   netip.Addr      // zero if it has none
	ctx      context.Context // ends when the connection is closed
	cancel   context.CancelFunc
}

// Write waits for its turn, portion by portion. Small writes, requests above
// all, overtake the portions that wait, and are paid for by those: a full
// uplink must not stop downloads.
func (c *conn) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n := portion(c.gate.up, len(p)-done)
		if err := c.wait(c.gate.up, n, n <= smallWrite); err != nil {
			return done, err
		}
		if err := c.gate.spend(n, 0); err != nil {
			return done, err
		}
		m, err := c.Conn.Write(p[done : done+n])
		done += m
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Read pays for what came after it came, since nobody knows before how much
// will; meanwhile TCP holds the sender back.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.gate.spend(0, 0); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p[:portion(c.gate.down, len(p))])
	if n == 0 {
		return 0, err
	}
	_ = c.gate.spend(0, n) // they are here; the next read is refused
	_ = c.wait(c.gate.down, n, false)
	return n, err
}

// wait takes n bytes from l and returns when they may pass, or when the
// connection is closed.
func (c *conn) wait(l *rate.Limiter, n int, urgent bool) error {
	if l == nil {
		return nil
	}
	delay := l.ReserveN(time.Now(), n).Delay()
	if delay == 0 || urgent && delay < smallMayOwe {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.ctx.Done():
		return net.ErrClosed
	}
}

// SetDeadline never fails: the engine panics if it does, and a connection can
// be cut at any moment. That it is closed shows when it is read.
func (c *conn) SetDeadline(t time.Time) error {
	_ = c.Conn.SetDeadline(t)
	return nil
}

// Close closes the connection and lets the gate forget it.
func (c *conn) Close() error {
	c.cancel()
	c.gate.forget(c)
	return c.Conn.Close()
}
