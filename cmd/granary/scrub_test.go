package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/node"
)

// blockFiles are the paths of a stored block's two large files.
func blockFiles(nd *devnet.Node, id string) []string {
	dir := filepath.Join(nd.Home, "blocks", id)
	return []string{filepath.Join(dir, "content"), filepath.Join(dir, "parity")}
}

// exits runs granary in a home and wants exactly that status; it returns what
// was printed.
func exits(t *testing.T, want int, home string, args ...string) string {
	t.Helper()
	cmd, err := devnet.Command(append(args, "--home", home)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	out, _ := cmd.CombinedOutput() // the status is looked at below
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Fatalf("granary %v: exit status %d, want %d\n%s", args, got, want, out)
	}
	return string(out)
}

// TestDamagedHomesAreRepaired: by hand and by schedule, from the rows that are
// left and from the network, alone and through a running node.
func TestDamagedHomesAreRepaired(t *testing.T) {
	t.Setenv("GRANARY_SCRUB_EVERY", "2s")
	n := network(t, 1)
	data := content(t, 3<<20)
	r := publish(t, n, data, node.WaitCustody)
	pub, custodian := n.Nodes["publisher"], n.Nodes["custodian-1"]
	good := map[string][]byte{}
	for _, nd := range []*devnet.Node{pub, custodian} {
		for _, path := range blockFiles(nd, r.ID) {
			var err error
			if good[path], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	intact := func(nd *devnet.Node) bool {
		b, err := nd.Client.Block(t.Context(), r.ID)
		if err != nil || b.Damaged > 0 {
			return false
		}
		for _, path := range blockFiles(nd, r.ID) {
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, good[path]) {
				return false
			}
		}
		return true
	}
	empty := func(paths ...string) {
		t.Helper()
		for _, path := range paths {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	spoil := func(path string) {
		t.Helper()
		damaged := bytes.Clone(good[path])
		for i := range len(damaged) / 2 {
			damaged[i] ^= 1
		}
		if err := os.WriteFile(path, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
	}

	empty(blockFiles(custodian, r.ID)[0])
	waitFor(t, "repair by the schedule", func() bool { return intact(custodian) })
	waitFor(t, "repair in the journal", func() bool {
		st, err := custodian.Client.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h := st.Storage.Scrubs
		return h != nil && h.Mended+h.Repaired > 0 && len(h.Last) > 0 && h.Last[0].ID == r.ID && h.Last[0].By == "node"
	})

	empty(blockFiles(pub, r.ID)...)
	opt := node.ScrubOptions{Repair: true, Patience: patience}
	sum, err := pub.Client.Scrub(t.Context(), opt, nil, func(node.ScrubResult) {})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "repair from the network", func() bool { return intact(pub) })
	t.Logf("a scrub asked for meanwhile: %+v", sum)

	if err := pub.Kill(); err != nil {
		t.Fatal(err)
	}
	spoil(blockFiles(pub, r.ID)[0])
	report := filepath.Join(n.Dir, "report.json")
	exits(t, exit.Partial, pub.Home, "scrub", "--report", report)
	if b := reported(t, report); b.State != "damaged" || b.Lost == 0 || b.Stored == nil || b.Stored.Whole {
		t.Errorf("the report of a damaged block: %+v", b)
	}
	exits(t, exit.Usage, pub.Home, "scrub", "--report", report)
	exits(t, exit.Usage, pub.Home, "scrub", "--report", report, "--force", "--holders") // no node runs
	exits(t, exit.OK, pub.Home, "scrub", "--repair", r.ID, "--report", report, "--force")
	if b := reported(t, report); b.State != "repaired" || b.Repaired == 0 || b.Lost != 0 || !b.Stored.Whole || b.Stored.Checked.IsZero() {
		t.Errorf("the report of a repaired block: %+v", b)
	}
	exits(t, exit.OK, pub.Home, "scrub")
	exits(t, exit.Failure, pub.Home, "scrub", "0123456789")
	if said := exits(t, exit.OK, pub.Home, "scrub", "--history"); !strings.Contains(said, r.ID[:16]+"…  repaired") || !strings.Contains(said, "looked at since") {
		t.Errorf("history: %s", said)
	}
	if err := os.Remove(filepath.Join(pub.Home, "blocks", r.ID, "info")); err != nil {
		t.Fatal(err)
	}
	exits(t, exit.Partial, pub.Home, "scrub", "--repair")
	if err := n.Start(t.Context(), "publisher"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "description from the network", func() bool { return intact(pub) })
	exits(t, exit.OK, pub.Home, "scrub", "--report", report, "--force", "--holders")
	if b := reported(t, report); b.Network == nil || len(b.Network.Holders) == 0 {
		t.Errorf("the report does not say who holds the block: %+v", b)
	}
}

// reported reads a report about one block.
func reported(t *testing.T, path string) reportedBlock {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r scrubReport
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.History) == 0 {
		t.Error("the report has no history")
	}
	if r.Type != "scrub-report" || r.Schema != 1 || r.ChainID == "" || r.Sum.Blocks != 1 || len(r.Blocks) != 1 || r.Ended.Before(r.Began) {
		t.Fatalf("report: %+v", r)
	}
	return r.Blocks[0]
}
