package light_test

import (
	"testing"

	"granary/ledger/light"
)

// TestSyncIsShort holds the client to what a phone can pay: 10,000 heights, three
// providers.
func TestSyncIsShort(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	c.idle(10_000)
	cl, w := client(t, c, light.Config{}, honest(c), honest(c), honest(c))
	s := update(t, cl)
	t.Logf("height %d: %d calls, %d bytes", s.Height, w.calls, w.bytes)
	if w.calls > 8 || w.bytes > 10_000 {
		t.Errorf("%d calls and %d bytes to height %d, want at most 8 and 10,000", w.calls, w.bytes, s.Height)
	}
	calls, bytes := w.calls, w.bytes
	c.idle(1)
	update(t, cl)
	t.Logf("one height more: %d calls, %d bytes", w.calls-calls, w.bytes-bytes)
}
