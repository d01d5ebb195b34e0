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

// BenchmarkSync measures a newcomer's way from the genesis over 10,000 heights,
// in computation alone: providers answer at once.
func BenchmarkSync(b *testing.B) {
	c := newSynth(b, 4)
	c.publish("a")
	c.idle(10_000)
	b.ReportAllocs()
	for b.Loop() {
		cl, w := client(b, c, light.Config{}, honest(c), honest(c), honest(c))
		update(b, cl)
		b.ReportMetric(float64(w.bytes), "bytes")
	}
}

// BenchmarkName measures what it takes to know what a name points at, once the
// head is verified.
func BenchmarkName(b *testing.B) {
	c := named(b, 1)
	cl, w := client(b, c, light.Config{}, honest(c), honest(c), honest(c))
	update(b, cl)
	before := w.bytes
	if _, err := cl.Name(b.Context(), "x"); err != nil {
		b.Fatal(err)
	}
	once := w.bytes - before
	for b.Loop() {
		if _, err := cl.Name(b.Context(), "x"); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(once), "bytes")
}
