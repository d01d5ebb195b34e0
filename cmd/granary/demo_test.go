package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDemoTellsItsStoryAsObjects runs the whole demo, real processes and all,
// on a block that is small enough for every custodian to owe all of it. The
// real file's run is the last step of .ci/run.
func TestDemoTellsItsStoryAsObjects(t *testing.T) {
	data := content(t, 40_000)
	file := filepath.Join(t.TempDir(), "small")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"demo", file, "--json"}, strings.NewReader(""), &out, &errs); status != 0 {
		t.Fatalf("exit status %d\n%s%s", status, out.Bytes(), errs.Bytes())
	}
	if errs.Len() > 0 {
		t.Errorf("standard error has %q, want nothing", errs.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, line := range lines[:len(lines)-1] {
		var step struct {
			Type         string
			Schema, Step int
		}
		if err := json.Unmarshal([]byte(line), &step); err != nil || step.Type != "progress" || step.Schema != 1 || step.Step != i+1 {
			t.Errorf("line %d is %s (%v), want step %d", i+1, line, err, i+1)
		}
	}
	var last struct {
		Type      string
		Schema    int
		OK        bool
		ID        string
		Length    int
		SHA256    string `json:"sha256"`
		Recovered string `json:"recovered_sha256"`
		Caught    bool   `json:"liar_caught"`
		Height    int64  `json:"certified_height"`
		Power     int64  `json:"voting_power"`
		Verdict   string
		Samples   int
		Bits      int
		Withheld  string `json:"withheld_verdict"`
		CutOff    string `json:"cut_off_verdict"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	want := hex.EncodeToString(sum[:])
	if last.Type != "result" || last.Schema != 1 || !last.OK || len(last.ID) != 64 || last.Length != len(data) ||
		last.SHA256 != want || last.Recovered != want || !last.Caught {
		t.Errorf("last object %+v, want ok with SHA-256 %s", last, want)
	}
	if last.Height < 1 || last.Power < 30 || last.Verdict != "available" || last.Samples < 1 || last.Bits != 128 ||
		last.Withheld != "unavailable" || last.CutOff != "inconclusive" {
		t.Errorf("last object %+v, want a certificate and the three verdicts", last)
	}
}
