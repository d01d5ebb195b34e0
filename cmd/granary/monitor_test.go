package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/node"
	"granary/sampling"
)

// ask gets a page of a node's port for monitoring.
func ask(t *testing.T, at netip.AddrPort, path string) (status int, body string) {
	t.Helper()
	r, err := http.Get(fmt.Sprintf("http://%s%s", at, path))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// total adds up the values of a metric whose labels match.
func total(t *testing.T, text, name, labels string) (sum float64) {
	t.Helper()
	line := regexp.MustCompile(`(?m)^granary_` + name + `(\{[^}]*` + labels + `[^}]*\})? (\S+)$`)
	found := line.FindAllStringSubmatch(text, -1)
	if found == nil {
		t.Errorf("no metric granary_%s{%s}", name, labels)
	}
	for _, m := range found {
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	return sum
}

func TestNodesAreMonitored(t *testing.T) {
	n := layOut(t, devnet.Plan{Validators: 1})
	nd := n.Nodes["publisher"]
	at := netip.AddrPortFrom(n.Address(0), uint16(nd.Port)) // free, as no node has that address
	if n.Address(0) == nd.IP {
		t.Skip("all nodes share one address here")
	}
	nd.Args = []string{"--http", at.String()}
	if err := n.Start(t.Context(), slices.Sorted(maps.Keys(n.Nodes))...); err != nil {
		t.Fatal(err)
	}
	r := publish(t, n, content(t, 3<<20/2), node.WaitCertified)
	ref, err := node.ParseRef(r.ID)
	if err != nil {
		t.Fatal(err)
	}
	v, err := nd.Client.Verify(t.Context(), ref, node.VerifyOptions{Wait: patience}, nil)
	if err != nil || v.Verdict != sampling.Available {
		t.Fatalf("verdict %s, because %s, %v", v.Verdict, v.Reason, err)
	}

	if status, body := ask(t, at, "/healthz"); status != http.StatusOK {
		t.Errorf("health: %d %s", status, body)
	}
	waitFor(t, "readiness", func() bool {
		status, _ := ask(t, at, "/readyz")
		return status == http.StatusOK
	})
	_, text := ask(t, at, "/metrics")
	for _, m := range []struct {
		name, labels string
		least        float64
	}{
		{"kad_peers", "", 1},
		{"kad_exchanges_total", `protocol="/granary/row/1.0.0",result="answered",side="asked"`, float64(v.Samples - v.Missing)},
		{"kad_exchanges_total", `protocol="/granary/announce/1.0.0"`, 1},
		{"ledger_height", "", float64(r.Height)},
		{"ledger_state", `state="synced"`, 1},
		{"kad_reachability", `state="devnet"`, 1},
		{"blobstore_blocks", "", 1},
		{"blobstore_bytes", "", 3 << 20},
		{"sampling_verdicts_total", `verdict="available"`, 1},
		{"sampling_verdict_seconds_count", "", 1},
		{"sampling_bytes_total", "", float64(v.Bytes)},
		{"sampling_rows_total", `cause="verified"`, float64(v.Samples - v.Missing)},
		{"sampling_group_verified_rows_total", "", float64(v.Samples - v.Missing)},
	} {
		if got := total(t, text, m.name, m.labels); got < m.least {
			t.Errorf("granary_%s{%s} is %v, want at least %v", m.name, m.labels, got, m.least)
		}
	}
	doc, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented, served := map[string]bool{}, map[string]bool{}
	for _, name := range regexp.MustCompile("`(granary_[a-z_]+)`").FindAllStringSubmatch(string(doc), -1) {
		documented[name[1]] = true
	}
	for _, name := range regexp.MustCompile(`(?m)^# TYPE (granary_\S+)`).FindAllStringSubmatch(text, -1) {
		served[name[1]] = true
	}
	if !maps.Equal(documented, served) {
		t.Errorf("docs/metrics.md has %v, the node %v", slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(served)))
	}
	if n := strings.Count(text, "granary_sampling_group_rows_total{"); n != sampling.Groups {
		t.Errorf("availability of %d groups, want %d", n, sampling.Groups)
	}
	if strings.Contains(text, r.ID[:8]) || strings.Contains(text, nd.Peer.String()) {
		t.Error("metrics name a block or a peer")
	}
	for _, path := range []string{"/v1/status", "/debug/pprof/"} {
		if status, _ := ask(t, at, path); status != http.StatusNotFound {
			t.Errorf("%s at the port for monitoring: %d, want 404", path, status)
		}
	}

	cmd, err := devnet.Command("node", "--home", n.Dir+"/other", "--network", n.File, "--listen", nd.IP.String(),
		"--port", "0", "--torrent-port", "0", "--http", at.String())
	if err != nil {
		t.Fatal(err)
	}
	out, _ := cmd.CombinedOutput() // the status is looked at below
	if got := cmd.ProcessState.ExitCode(); got != exit.TryAgain || !strings.Contains(string(out), "choose another address with --http") {
		t.Errorf("taken port: exit status %d with\n%s", got, out)
	}
}
