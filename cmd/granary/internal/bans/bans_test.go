package bans_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"granary/cmd/granary/internal/bans"
)

func TestBansOutliveRestartsForAWeek(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bans.json")
	day := func(n int) time.Time { return time.Date(2026, 11, 1+n, 0, 0, 0, 0, time.UTC) }
	one, two := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8::2")
	step := func(at time.Time, banned, want []netip.Addr) {
		t.Helper()
		b, err := bans.Open(path, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Addresses(); !slices.Equal(got, want) {
			t.Errorf("on %v: %v are banned, want %v", at, got, want)
		}
		if err := b.Keep(append(b.Addresses(), banned...), at); err != nil {
			t.Fatal(err)
		}
	}
	step(day(0), []netip.Addr{one}, nil)
	step(day(5), []netip.Addr{two}, []netip.Addr{one})
	step(day(7), nil, []netip.Addr{two, one})
	step(day(8), nil, []netip.Addr{two})
	step(day(13), nil, nil)
}

func TestBansAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bans.json")
	now := time.Now()
	b, err := bans.Open(path, now)
	if err != nil {
		t.Fatal(err)
	}
	ip := netip.MustParseAddr("203.0.113.0")
	var many []netip.Addr
	for range 3000 {
		many, ip = append(many, ip), ip.Next()
	}
	if err := b.Keep(many, now); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := b.Keep(many, now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is written although nobody is new")
	}
	if b, err = bans.Open(path, now); err != nil {
		t.Fatal(err)
	}
	if err := b.Keep(many, now); err != nil {
		t.Fatal(err)
	}
	if b, err = bans.Open(path, now.Add(time.Hour)); err != nil || len(b.Addresses()) != 1024 {
		t.Errorf("%d are banned, want 1024; %v", len(b.Addresses()), err)
	}
}

func TestADamagedBanFileBansNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bans.json")
	if err := os.WriteFile(path, []byte(`[{"ip":"203.0.113.`), 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := bans.Open(path, time.Now())
	if err == nil || len(b.Addresses()) != 0 {
		t.Errorf("got %v and %v, want nobody and an error", b.Addresses(), err)
	}
	if err := b.Keep([]netip.Addr{netip.MustParseAddr("203.0.113.1")}, time.Now()); err != nil {
		t.Error(err)
	}
}
