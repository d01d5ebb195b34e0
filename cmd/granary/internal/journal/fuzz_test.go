package journal_test

import (
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

// Whatever the file of a test holds, the rows are those of a test, and stay.
func FuzzDraw(f *testing.F) {
	f.Add("")
	f.Add("1\n2\n3\n")
	f.Add(strings.Repeat("0\n", 47))
	var all strings.Builder
	for row := range 115 {
		all.WriteString("+0" + string(rune('0'+row%10)) + " ")
	}
	f.Add(all.String())
	f.Fuzz(func(t *testing.T, text string) {
		const k, bits = 200, 20
		dir, id := t.TempDir(), erasure.ID{1}
		path := filepath.Join(dir, "tests", id.String()+"-20")
		j := open(t, dir)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		rows := draw(t, j, id, k, bits)
		plan, err := sampling.Draw(k, bits)
		if err != nil {
			t.Fatal(err)
		}
		distinct := slices.Compact(slices.Sorted(slices.Values(rows)))
		if len(distinct) != len(plan) || distinct[0] < 0 || distinct[len(distinct)-1] >= 2*k {
			t.Errorf("%d rows, %d of them different, from %d to %d", len(rows), len(distinct), distinct[0], distinct[len(distinct)-1])
		}
		if again := draw(t, open(t, dir), id, k, bits); !slices.Equal(again, rows) {
			t.Error("the rows changed")
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
