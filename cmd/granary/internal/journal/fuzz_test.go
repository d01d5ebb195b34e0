package journal_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"granary/cmd/granary/internal/journal"
	"granary/sampling"
)

// Whatever the file of a test holds, what is taken from it are rows of a test.
func FuzzDraw(f *testing.F) {
	f.Add("", 1, 2)
	f.Add("1\n2\n3\n", 3, 4)
	f.Add("+1 01 1\n", 3, 2)
	f.Add("9223372036854775808 -1", 2, 400)
	f.Fuzz(func(t *testing.T, text string, n, total int) {
		n = min(max(n, 1), 128)
		rows, ok := journal.ParseDraw(text, n, total)
		if !ok {
			return
		}
		distinct := slices.Compact(slices.Sorted(slices.Values(rows)))
		if len(distinct) != n || distinct[0] < 0 || distinct[n-1] >= total {
			t.Errorf("%v, want %d different rows below %d", rows, n, total)
		}
	})
}

// Whatever the journal holds, it is read, and goes on.
func FuzzHistory(f *testing.F) {
	f.Add([]byte("{}\n{"))
	f.Add([]byte(`{"time":"9999-12-31T00:00:00Z","bytes":9223372036854775807}` + "\n"))
	f.Add([]byte(`{"time":"2026-01-01T00:00:00Z","bytes":-9223372036854775808,"missing_rows":{"":[1]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "verdicts"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		j := open(t, dir)
		now := time.Now()
		e := journal.NewEntry(now, 7, sampling.Verdict{State: sampling.Available})
		if err := j.Record(e); err != nil {
			t.Fatal(err)
		}
		all, err := journal.History(dir)
		if err != nil || len(all) == 0 || all[len(all)-1].Index != 7 {
			t.Fatalf("history %v, %v; want what was recorded last", all, err)
		}
		if spent := j.Spent(now); spent < 0 {
			t.Errorf("%d bytes spent", spent)
		}
	})
}
