package traffic_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"granary/cmd/granary/internal/traffic"
)

// calendar is a clock that tests turn.
type calendar struct{ at time.Time }

func (c *calendar) now() time.Time { return c.at }

func open(t *testing.T, path string, limit int64, c *calendar) *traffic.Meter {
	t.Helper()
	m, err := traffic.Open(path, limit, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestVolumeHoldsOverRestartsAndCrashes(t *testing.T) {
	const limit = 100 << 20
	path := filepath.Join(t.TempDir(), "traffic.json")
	c := &calendar{time.Date(2026, 11, 20, 12, 0, 0, 0, time.Local)}
	passed := int64(0)
	for life := 0; ; life++ {
		m := open(t, path, limit, c)
		var err error
		for n := 0; n < 700 && err == nil; n++ {
			if err = m.Spend(16<<10, 0); err == nil {
				passed += 16 << 10
			}
			if err == nil {
				if err = m.Spend(0, 1<<10); err == nil {
					passed += 1 << 10
				}
			}
		}
		if errors.Is(err, traffic.ErrVolume) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if life%2 == 0 { // else it is killed
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if passed > limit {
		t.Errorf("%d bytes passed, want at most %d", passed, limit)
	}
	// Each of the few crashes may cost a portion, a hundredth here.
	if passed < limit*9/10 {
		t.Errorf("%d bytes passed, want most of %d", passed, limit)
	}
	m := open(t, path, limit, c)
	if err := m.Spend(0, 0); !errors.Is(err, traffic.ErrVolume) {
		if err = m.Spend(16<<10, 0); !errors.Is(err, traffic.ErrVolume) {
			t.Errorf("after a restart: got %v, want ErrVolume", err)
		}
	}
	c.at = c.at.AddDate(0, 0, 11)
	if err := m.Spend(1000, 0); err != nil {
		t.Errorf("in the next month: %v", err)
	}
	if got := m.Used(); got.Month != "2026-12" || got.Sent != 1000 || got.Received != 0 {
		t.Errorf("in the next month: %+v", got)
	}
}

func TestVolumeIsCountedWithoutALimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "traffic.json")
	c := &calendar{time.Date(2026, 11, 20, 12, 0, 0, 0, time.Local)}
	m := open(t, path, 0, c)
	if err := errors.Join(m.Spend(5<<30>>3, 0), m.Spend(0, 77), m.Close()); err != nil {
		t.Fatal(err)
	}
	m = open(t, path, 0, c)
	if got := m.Used(); got.Sent != 5<<30>>3 || got.Received != 77 {
		t.Errorf("after a restart: %+v", got)
	}
}

// A disk that was full for a while stops what is under a limit for so long, and
// nothing else.
func TestVolumeGoesOnOnceItCanBeWritten(t *testing.T) {
	c := &calendar{time.Date(2026, 11, 20, 12, 0, 0, 0, time.Local)}
	away := filepath.Join(t.TempDir(), "away")
	path := filepath.Join(away, "traffic.json")
	limited, free := open(t, path, 1<<30, c), open(t, path, 0, c)
	for range 2 {
		if err := limited.Spend(1, 0); err == nil || errors.Is(err, traffic.ErrVolume) {
			t.Errorf("under a limit that cannot be kept: error %v", err)
		}
		if err := limited.Spent(); err == nil {
			t.Error("more may pass under a limit that cannot be kept")
		}
		if err := free.Spend(1, 1); err != nil {
			t.Errorf("without a limit: %v", err)
		}
	}
	if err := os.Mkdir(away, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(limited.Spent(), limited.Spend(1, 0), free.Spend(1, 0), free.Close()); err != nil {
		t.Errorf("once it can be written: %v", err)
	}
}

func TestSettingTheClockGivesNoMonthMore(t *testing.T) {
	const limit = 1 << 20
	path := filepath.Join(t.TempDir(), "traffic.json")
	c := &calendar{time.Date(2026, 11, 20, 12, 0, 0, 0, time.Local)}
	m := open(t, path, limit, c)
	spend := func(bytes int) error { return m.Spend(bytes, 0) }
	reopen := func() {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		m = open(t, path, limit, c)
	}
	for range 2 {
		for _, month := range []time.Month{11, 9, 12} {
			c.at = time.Date(2026, month, 20, 12, 0, 0, 0, time.Local)
			if err := spend(400 << 10); err != nil {
				t.Fatalf("%v: %v", month, err)
			}
			if month == 9 {
				reopen()
			}
		}
		reopen()
	}
	for _, month := range []time.Month{11, 9, 12} {
		c.at = time.Date(2026, month, 20, 12, 0, 0, 0, time.Local)
		if err := spend(400 << 10); !errors.Is(err, traffic.ErrVolume) {
			t.Errorf("%v: got %v, want ErrVolume", month, err)
		}
		if got := m.Used().Sent; got != 800<<10 {
			t.Errorf("%v: %d bytes sent", month, got)
		}
	}
}

func TestADamagedVolumeIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "traffic.json")
	c := &calendar{time.Now()}
	for _, text := range []string{"", "{", `{"month":"2026-11","sent":5,"received":5,"booked":9}`, `{"month":"2026-11","sent":5,"received":5,"booked":10,"other":[{"sent":-1}]}`, `{"month":"2026-11","sent":-5,"received":5,"booked":9}`, `{"sent":9223372036854775807,"received":9223372036854775807,"booked":9}`, strings.Repeat(" ", 64<<10) + "{}"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := traffic.Open(path, 1000, c.now); err == nil {
			t.Errorf("%q was believed", text)
		}
	}
}

func TestVolumeIsExactFromManyConnections(t *testing.T) {
	const limit = 1 << 20
	c := &calendar{time.Now()}
	m := open(t, filepath.Join(t.TempDir(), "traffic.json"), limit, c)
	var passed atomic.Int64
	done := make(chan struct{})
	for range 8 {
		go func() {
			for m.Spend(1000, 0) == nil {
				passed.Add(1000)
			}
			done <- struct{}{}
		}()
	}
	for range 8 {
		<-done
	}
	if got := passed.Load(); got > limit || got < limit-1000 {
		t.Errorf("%d bytes passed of %d", got, limit)
	}
}

// FuzzOpen: whatever the file says, no month has less than nothing or is allowed more
// than its limit.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"month":"2026-11","sent":5,"received":5,"booked":10,"other":[{"month":"2026-10","sent":1}]}`))
	f.Add([]byte(`{"month":"2026-09","sent":5,"received":5,"booked":9223372036854775807,"other":[{"month":"2026-11","sent":9223372036854775807}]}`))
	c := &calendar{time.Date(2026, 11, 20, 12, 0, 0, 0, time.Local)}
	path := filepath.Join(f.TempDir(), "traffic.json")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := traffic.Open(path, 1000, c.now)
		if err != nil {
			return
		}
		if u := m.Used(); u.Month != "2026-11" || u.Sent < 0 || u.Received < 0 {
			t.Errorf("%q: %+v", raw, u)
		}
		if m.Spend(1001, 0) == nil {
			t.Errorf("%q: more than the limit may be sent", raw)
		}
	})
}
