package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"granary/cmd/granary/internal/journal"
	"granary/erasure"
	"granary/sampling"
)

func open(t *testing.T, dir string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func draw(t *testing.T, j *journal.Journal, id erasure.ID, k, bits int) []int {
	t.Helper()
	rows, err := j.Draw(id, k, bits)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestRowsAreDrawnOnceUntilTheTestIsSettled(t *testing.T) {
	dir, id := t.TempDir(), erasure.ID{1}
	for _, k := range []int{1, 20, 600, 16_384} {
		j := open(t, dir)
		first := draw(t, j, id, k, 20)
		if !slices.Equal(draw(t, j, id, k, 20), first) {
			t.Errorf("k = %d: drawn again", k)
		}
		// After a crash: nothing but the files is left.
		if !slices.Equal(draw(t, open(t, dir), id, k, 20), first) {
			t.Errorf("k = %d: drawn again after a restart", k)
		}
		if k > 1 && slices.Equal(draw(t, j, erasure.ID{2}, k, 20), first) {
			t.Errorf("k = %d: two blocks have the same rows", k)
		}
		if err := j.Settle(id, 20); err != nil {
			t.Fatal(err)
		}
		if k > 1 && slices.Equal(draw(t, j, id, k, 20), first) {
			t.Errorf("k = %d: a new test has the rows of the old one", k)
		}
		for _, id := range []erasure.ID{{1}, {2}} {
			if err := j.Settle(id, 20); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTestsOfDifferentBitsAreDifferentTests(t *testing.T) {
	j := open(t, t.TempDir())
	low, high := draw(t, j, erasure.ID{1}, 600, 20), draw(t, j, erasure.ID{1}, 600, 40)
	if len(high) <= len(low) || slices.Equal(low, high[:len(low)]) {
		t.Errorf("%d rows at 20 bits, %d at 40", len(low), len(high))
	}
}

func TestDamagedDrawIsMadeAnew(t *testing.T) {
	for name, damage := range map[string]func(string) string{
		"cut":     func(s string) string { return s[:len(s)/2] },
		"empty":   func(string) string { return "" },
		"garbage": func(s string) string { return strings.Replace(s, "1", "x", 1) },
		"outside": func(s string) string { return "1200\n" + s[strings.IndexByte(s, '\n')+1:] },
		"twice": func(s string) string {
			first, rest, _ := strings.Cut(s, "\n")
			return first + "\n" + first + "\n" + rest[strings.IndexByte(rest, '\n')+1:]
		},
	} {
		dir, id := t.TempDir(), erasure.ID{1}
		j := open(t, dir)
		draw(t, j, id, 600, 20)
		path := filepath.Join(dir, "tests", id.String()+"-20")
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(damage(string(raw))), 0o600); err != nil {
			t.Fatal(err)
		}
		rows := draw(t, j, id, 600, 20)
		if !slices.Equal(draw(t, open(t, dir), id, 600, 20), rows) {
			t.Errorf("%s: what was drawn anew was not kept", name)
		}
	}
}

func TestOldestTestsAreForgotten(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	for i := range 1024 {
		path := filepath.Join(dir, "tests", erasure.ID{byte(i), byte(i >> 8)}.String()+"-20")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(i), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	draw(t, j, erasure.ID{9, 9, 9}, 600, 20)
	files, err := os.ReadDir(filepath.Join(dir, "tests"))
	if err != nil || len(files) != 1024 {
		t.Fatalf("%d tests are kept (error %v), want 1024", len(files), err)
	}
	if _, err := os.Stat(filepath.Join(dir, "tests", erasure.ID{}.String()+"-20")); err == nil {
		t.Error("the oldest is still there")
	}
}

// verdict is one with as many causes and missing rows as there can be.
func verdict(causes []sampling.Cause) sampling.Verdict {
	v := sampling.Verdict{
		ID: erasure.ID{1, 2}, State: sampling.Inconclusive, Reason: sampling.ControlMissing,
		Rows: 128, Missing: 128, Holders: 100, Bytes: 1 << 40, Took: time.Hour, Causes: map[int]sampling.Cause{},
	}
	for i := range 128 {
		v.Draw = append(v.Draw, 32_000+i)
		v.Causes[32_000+i] = causes[i%len(causes)]
	}
	return v
}

func TestVerdictsAreKeptWithTheirCauses(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	v := verdict([]sampling.Cause{sampling.NotHeld, sampling.Verified, sampling.Verified, sampling.Timeout})
	v.Missing = 64
	now := time.Now()
	if err := j.Record(journal.NewEntry(now, 7, v)); err != nil {
		t.Fatal(err)
	}
	got, err := journal.History(dir)
	if err != nil || len(got) != 1 {
		t.Fatalf("history %v, %v; want one verdict", got, err)
	}
	e := got[0]
	if e.Time.UnixMilli() != now.UnixMilli() || e.ID != v.ID.String() || e.Index != 7 || e.Verdict != v.State || e.Samples != 128 || e.Missing != 64 {
		t.Errorf("%+v is not of %v", e, v)
	}
	if e.Causes["not held"] != 32 || e.Causes["timeout"] != 32 || e.Causes["verified"] != 64 {
		t.Errorf("causes %v", e.Causes)
	}
	if len(e.Rows["not held"]) == 0 || e.Rows["not held"][0] != 32_000 || e.Rows["verified"] != nil {
		t.Errorf("missing rows %v", e.Rows)
	}
}

func TestVerdictNeverTakesMoreThanAKilobyte(t *testing.T) {
	all := []sampling.Cause{
		sampling.BadCombination, sampling.BadPath, sampling.BadLength, sampling.BadProtocol, sampling.Pending, sampling.Busy,
		sampling.NotHeld, sampling.Timeout, sampling.Unreachable, sampling.NotAwaited, sampling.NoHolder,
	}
	for _, reason := range []string{"", strings.Repeat("\x00\n", 500), strings.Repeat("\"\\", 500), strings.Repeat("\u2028", 500), "\xff<&>" + strings.Repeat("€", 500)} {
		for n := range all {
			dir := t.TempDir()
			j := open(t, dir)
			e := journal.NewEntry(time.Now(), 1<<63, verdict(all[:n+1]))
			e.Reason, e.Attempt = reason, 1<<40
			if err := j.Record(e); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(filepath.Join(dir, "verdicts"))
			if err != nil || len(raw) > 1024 || strings.Count(string(raw), "\n") != 1 {
				t.Errorf("%d causes: %d bytes: %s", n+1, len(raw), raw)
			}
			if got, err := journal.History(dir); err != nil || len(got) != 1 {
				t.Errorf("history %v, %v", got, err)
			}
		}
	}
}

func TestJournalStaysSmallAndKeepsTheNewest(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	e := journal.NewEntry(time.Now(), 0, sampling.Verdict{State: sampling.Available})
	raw := []byte(strings.Repeat(fmt.Sprintf(`{"id":%q}`+"\n", strings.Repeat("0", 1000)), 2072))
	for i := range 5 {
		if err := os.WriteFile(filepath.Join(dir, "verdicts"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 120 { // enough to go beyond 2 MiB
			e.Index = uint64(i + 1)
			if err := j.Record(e); err != nil {
				t.Fatal(err)
			}
		}
		var size int64
		for _, name := range []string{"verdicts", "verdicts.old"} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil || info.Size() > 2<<20 {
				t.Fatalf("%s: %v, %v", name, info, err)
			}
			size += info.Size()
		}
		got, err := journal.History(dir)
		if err != nil || got[len(got)-1].Index != e.Index {
			t.Fatalf("the newest verdict is not the last of %d (error %v)", len(got), err)
		}
	}
}

func TestTornLineIsSkippedAndTheNextStandsAlone(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	e := journal.NewEntry(time.Now(), 1, sampling.Verdict{State: sampling.Available})
	if err := j.Record(e); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "verdicts")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range raw {
		if err := os.WriteFile(path, append(slices.Clone(raw), raw[:cut]...), 0o600); err != nil {
			t.Fatal(err)
		}
		e.Index = uint64(2 + cut)
		if err := open(t, dir).Record(e); err != nil {
			t.Fatal(err)
		}
		got, err := journal.History(dir)
		if err != nil || len(got) < 2 || got[0].Index != 1 || got[len(got)-1].Index != e.Index {
			t.Fatalf("cut at %d: history %v, %v", cut, got, err)
		}
	}
}

func TestALineThatAFullDiskCutIsEnded(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	e := journal.NewEntry(time.Now(), 1, sampling.Verdict{State: sampling.Available})
	if err := j.Record(e); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "verdicts")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(raw, raw[:20]...), 0o600); err != nil {
		t.Fatal(err)
	}
	e.Index = 2
	if err := j.Record(e); err != nil { // without opening it anew
		t.Fatal(err)
	}
	got, err := journal.History(dir)
	if err != nil || len(got) != 2 || got[1].Index != 2 {
		t.Errorf("history %v, %v", got, err)
	}
}

func TestSpentIsWhatTheLastDayCost(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	j := open(t, dir)
	for _, c := range []struct {
		ago   time.Duration
		bytes int64
	}{{25 * time.Hour, 1000}, {23 * time.Hour, 100}, {time.Minute, 10}, {0, 1}, {-30 * time.Hour, 10_000}} { // the last by a clock that was ahead
		if err := j.Record(journal.NewEntry(now.Add(-c.ago), 0, sampling.Verdict{Bytes: c.bytes})); err != nil {
			t.Fatal(err)
		}
	}
	if got := j.Spent(now); got != 111 {
		t.Errorf("spent %d, want 111", got)
	}
	if got := open(t, dir).Spent(now.Add(2 * time.Hour)); got != 11 {
		t.Errorf("spent %d two hours later, after a restart; want 11", got)
	}
}
