//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
	"granary/sampling"
)

// asked is which rows of a block the holders' logs say they were asked for.
func asked(t *testing.T, n *devnet.Net, id string) map[int]bool {
	t.Helper()
	line := regexp.MustCompile(`msg="row asked for" block=` + id[:8] + ` row=(\d+)`)
	rows := map[int]bool{}
	for _, nd := range n.Nodes {
		raw, err := os.ReadFile(nd.Log())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllSubmatch(raw, -1) {
			row, err := strconv.Atoi(string(m[1]))
			if err != nil {
				t.Fatal(err)
			}
			rows[row] = true
		}
	}
	return rows
}

func TestKilledVerifyAsksForTheSameRows(t *testing.T) {
	n := layOut(t, devnet.Plan{Validators: 1, Custodians: 3})
	for _, nd := range n.Nodes {
		nd.Args = []string{"-v"} // beside the -v that each has: every row is logged
	}
	start(t, n)
	r := publish(t, n, content(t, 3<<20), node.WaitCustody)

	// The validator has dropped what it had, and all others but one custodian
	// hold their breath: some rows come, most do not.
	if err := n.Nodes["validator-1"].Client.Withhold(t.Context(), r.ID, ^uint64(0)); err != nil {
		t.Fatal(err)
	}
	silent := []string{"publisher", "custodian-2", "custodian-3"}
	signal := func(sig syscall.Signal) {
		for _, name := range silent {
			if err := n.Nodes[name].Signal(sig); err != nil {
				t.Error(err)
			}
		}
	}
	signal(syscall.SIGSTOP)
	t.Cleanup(func() { signal(syscall.SIGCONT) })

	reader := filepath.Join(n.Dir, "reader")
	args := []string{"verify", r.ID, "--network", n.File, "--home", reader, "--listen", n.Address(0).String(), "--json", "-q"}
	cmd, err := devnet.Command(args...)
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "first rows asked for", func() bool { return len(asked(t, n, r.ID)) > 4 })
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	first := asked(t, n, r.ID)

	kept := filepath.Join(reader, "guest", n.Network.ChainID(), "sampling", "tests", r.ID+"-20")
	raw, err := os.ReadFile(kept)
	if err != nil {
		t.Fatalf("rows of the killed test: %v", err)
	}
	var draw []int
	for _, text := range strings.Fields(string(raw)) {
		row, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		draw = append(draw, row)
	}
	for row := range first {
		if !slices.Contains(draw, row) {
			t.Errorf("row %d was asked for and is not kept", row)
		}
	}

	signal(syscall.SIGCONT)
	again, err := devnet.Command(args...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := again.Output()
	var v node.VerifyResult
	if err := errors.Join(err, json.Unmarshal(out, &v)); err != nil || v.Verdict != sampling.Available {
		t.Fatalf("verify after the kill: %s, %v\n%s", v.Verdict, err, out)
	}
	all := asked(t, n, r.ID)
	for row := range all {
		if !slices.Contains(draw, row) {
			t.Errorf("row %d was asked for after the kill and is another than those drawn before", row)
		}
	}
	for _, row := range draw[:erasure.NewPlan(192, 20).Stages[0].Rows] {
		if !all[row] {
			t.Errorf("row %d of the first stage was never asked for", row)
		}
	}
	if _, err := os.Stat(kept); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("rows of a settled test: %v, want gone", err)
	}
	t.Logf("%d rows asked for before the kill, %d in all", len(first), len(all))
}
