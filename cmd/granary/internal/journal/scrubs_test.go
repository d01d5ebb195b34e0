package journal_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"granary/cmd/granary/internal/journal"
)

var (
	blockA = strings.Repeat("0a", 32)
	blockB = strings.Repeat("0b", 32)
	monday = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
)

func record(t *testing.T, s *journal.Scrubs, all ...journal.Scrub) {
	t.Helper()
	for _, e := range all {
		if err := s.Record(e); err != nil {
			t.Fatal(err)
		}
	}
}

func readScrubs(t *testing.T, home string) []journal.Scrub {
	t.Helper()
	all, err := journal.ReadScrubs(home)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// damaged is an entry of so many days after monday.
func damaged(days int, id string, lost int64) journal.Scrub {
	return journal.Scrub{Time: monday.AddDate(0, 0, days), By: "node", ID: id, State: "damaged", Bad: lost, Lost: lost, Err: "too few rows"}
}

// TestScrubsTellWhatChanged: what stays damaged is told once a month, what is
// repaired each time, what is good only if it was not.
func TestScrubsTellWhatChanged(t *testing.T) {
	home := t.TempDir()
	good := func(days int, id string) journal.Scrub {
		return journal.Scrub{Time: monday.AddDate(0, 0, days), By: "node", ID: id, State: "good", Pieces: 4}
	}
	repaired := func(days int, id string) journal.Scrub {
		return journal.Scrub{Time: monday.AddDate(0, 0, days), By: "command", ID: id, State: "repaired", Bad: 2, Repaired: 2, Mended: []string{"content"}}
	}
	sum := journal.Scrub{Time: monday.AddDate(0, 0, 50), Since: monday.AddDate(0, 0, -1), By: "node", Blocks: 7, Pieces: 70, Bytes: 700}
	for _, step := range []struct {
		e    journal.Scrub
		kept bool
	}{
		{good(0, blockA), false},
		{damaged(1, blockA, 3), true},
		{damaged(2, blockA, 3), false},
		{damaged(2, blockB, 3), true},
		{damaged(3, blockA, 4), true}, // more of it
		{damaged(20, blockA, 4), false},
		{damaged(33, blockA, 4), true},
		{good(34, blockA), true},
		{good(35, blockA), false},
		{repaired(36, blockA), true},
		{repaired(37, blockA), true},
		{good(38, blockA), false},
		{sum, true},
	} {
		before := len(readScrubs(t, home))
		record(t, journal.NewScrubs(home), step.e) // as after a restart
		if got := len(readScrubs(t, home)) > before; got != step.kept {
			t.Errorf("%+v: kept %t, want %t", step.e, got, step.kept)
		}
	}
	all := readScrubs(t, home)
	if last := all[len(all)-1]; !reflect.DeepEqual(last, sum) {
		t.Errorf("read %+v, wrote %+v", last, sum)
	}
	h, err := journal.NewScrubs(home).History()
	if err != nil || !h.Since.Equal(sum.Since) || h.Blocks != 7 || h.Bytes != 700 || h.Repaired != 4 || h.Mended != 2 || len(h.Last) != 7 {
		t.Errorf("history %+v, %v", h, err)
	}
}

// TestScrubsOutliveDamageAndAreBounded: a line that was cut, or altered, costs
// itself, and the files do not grow for ever.
func TestScrubsOutliveDamageAndAreBounded(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, "scrubs")
	s := journal.NewScrubs(home)
	record(t, s, damaged(0, blockA, 1))
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut := raw[:len(raw)/2]
	if err := os.WriteFile(path, append(append([]byte("nonsense\n"), raw...), cut...), 0o600); err != nil {
		t.Fatal(err)
	}
	s = journal.NewScrubs(home)
	record(t, s, damaged(1, blockB, 1))
	if got := readScrubs(t, home); len(got) != 2 || got[0].ID != blockA || got[1].ID != blockB {
		t.Errorf("read %+v", got)
	}
	if err := s.Record(journal.Scrub{Time: monday, By: "node", ID: blockA, State: "repaired", Bad: 1, Repaired: 2}); err == nil {
		t.Error("an entry that contradicts itself is kept")
	}

	// Two full files: the next entry takes the place of the older.
	line := raw
	var full []byte
	for len(full)+len(line) <= 1<<20 {
		full = append(full, line...)
	}
	for _, name := range []string{path, path + ".old"} {
		if err := os.WriteFile(name, full, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	record(t, journal.NewScrubs(home), damaged(5, blockB, 9))
	got := readScrubs(t, home)
	if len(got) != len(full)/len(line)+1 || got[len(got)-1].Lost != 9 {
		t.Errorf("%d entries in two full files, the last %+v", len(got), got[len(got)-1])
	}
}

// TestScrubsAreCountedOnce: also those that were read before reading went wrong.
func TestScrubsAreCountedOnce(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, "scrubs")
	sum := journal.Scrub{Time: monday, Since: monday, By: "node", Blocks: 7, Bytes: 700}
	record(t, journal.NewScrubs(home), sum)
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	s := journal.NewScrubs(home)
	if h, err := s.History(); err == nil {
		t.Errorf("a folder was read: %+v", h)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if h, err := s.History(); err != nil || h.Blocks != 7 || h.Bytes != 700 {
		t.Errorf("%+v, %v; want 7 blocks of 700 bytes", h, err)
	}
}

// FuzzScrub: whatever the files have, what is read of them does not contradict
// itself, fits a line, and is the same when it is written again.
func FuzzScrub(f *testing.F) {
	for _, line := range []string{
		`{"time":"2026-03-02T10:00:00Z","by":"node","id":"` + blockA + `","state":"damaged","pieces_bad":3,"pieces_lost":3,"error":"too few rows"}`,
		`{"time":"2026-03-02T10:00:00Z","since":"2026-03-01T10:00:00Z","by":"command","blocks":1,"bytes_checked":5}`,
		`{"time":"2026-03-02T10:00:00Z","by":"node","id":"` + blockB + `","state":"repaired","pieces_bad":1,"pieces_repaired":1,"mended":["info","parity"]}`,
	} {
		f.Add([]byte(line + "\n"))
		f.Add([]byte(line + "\n" + line[:40] + "\n" + line))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		home := t.TempDir()
		path := filepath.Join(home, "scrubs")
		write := func(raw []byte) {
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(raw)
		all := readScrubs(t, home)
		for _, e := range all {
			if e.Bad != e.Repaired+e.Lost && e.ID != "" || e.Bad < 0 || e.Repaired < 0 || e.Lost < 0 || (e.ID == "") != (e.Blocks > 0) || len(e.Err) > 160 {
				t.Errorf("%+v", e)
			}
			line, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			if write(line); len(line) > 1024 {
				continue // it was shorter as it came: not ours
			}
			if again := readScrubs(t, home); len(again) != 1 || !reflect.DeepEqual(again[0], e) {
				t.Errorf("%+v is read again as %+v", e, again)
			}
		}
	})
}
