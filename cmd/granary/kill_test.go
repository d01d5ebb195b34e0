package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/node"
)

// patience bounds every wait of these tests; a wait ends as soon as it can.
// Two busy cores and the race detector need some.
const patience = 3 * time.Minute

// network starts a devnet of validators, three custodians and a publisher, each
// a real process.
func network(t *testing.T, validators int) *devnet.Net {
	t.Helper()
	return networkOf(t, devnet.Plan{Validators: validators, Custodians: 3})
}

func networkOf(t *testing.T, plan devnet.Plan) *devnet.Net {
	t.Helper()
	n := layOut(t, plan)
	start(t, n)
	return n
}

// layOut makes a devnet that is closed when the test ends.
func layOut(t *testing.T, plan devnet.Plan) *devnet.Net {
	t.Helper()
	if plan.Others == nil {
		plan.Others = []string{"publisher"}
	}
	if plan.AnnounceWindow == 0 {
		plan.AnnounceWindow = 3 * time.Minute // the race detector makes validators ten times slower
	}
	n, err := devnet.New(t.TempDir(), plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close devnet: %v", err)
		}
	})
	return n
}

// start starts all nodes, and returns when the custodians are to be found.
func start(t *testing.T, n *devnet.Net) {
	t.Helper()
	if err := n.Start(t.Context(), slices.Sorted(maps.Keys(n.Nodes))...); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "three custodians in the DHT", func() bool {
		found, err := n.Nodes["publisher"].Client.Custodians(t.Context())
		return err == nil && len(found) == 3
	})
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("no %s after %v", what, patience)
		case <-look.C:
		}
	}
}

// content is n bytes that do not compress and differ from run to run.
func content(t *testing.T, n int) []byte {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("content seed %d", seed)
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	if _, err := r.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// restart kills a node and starts it again.
func restart(t *testing.T, n *devnet.Net, name string) {
	t.Helper()
	if err := n.Nodes[name].Kill(); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

func holdsShare(t *testing.T, nd *devnet.Node, id string) bool {
	t.Helper()
	b, err := nd.Client.Block(t.Context(), id)
	return err == nil && b.Owed != nil && b.Owed.Held
}

func publish(t *testing.T, n *devnet.Net, data []byte, wait node.Wait) node.PublishResult {
	t.Helper()
	opt := node.PublishOptions{Wait: wait, Patience: patience}
	r, err := n.Nodes["publisher"].Client.Publish(t.Context(), "killed", bytes.NewReader(data), opt, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestKilledNodesKeepWhatTheyAcknowledged(t *testing.T) {
	n := network(t, 1)
	data := content(t, 3<<20)
	r := publish(t, n, data, node.WaitCustody)
	for _, name := range []string{"custodian-1", "publisher"} {
		restart(t, n, name)
	}
	if !holdsShare(t, n.Nodes["custodian-1"], r.ID) {
		t.Error("the custodian's share is not there right after the restart")
	}
	b, err := n.Nodes["publisher"].Client.Block(t.Context(), r.ID)
	if err != nil || !b.Whole {
		t.Errorf("the publisher's block right after the restart: %+v, %v; want whole", b, err)
	}
	if st, err := n.Nodes["publisher"].Client.Status(t.Context()); err != nil || b.AnnouncedBy != st.Publisher {
		t.Errorf("announced by %q, want %q (%v)", b.AnnouncedBy, st.Publisher, err)
	}
	if got := get(t, n, r.ID, "reader"); !bytes.Equal(got, data) {
		t.Error("what was fetched after the restarts differs from what was published")
	}
}

func TestCustodianKilledWhileItFetchesTakesUpAgain(t *testing.T) {
	n := network(t, 1)
	r := publish(t, n, content(t, 12<<20), node.WaitAnnounced)
	nd := n.Nodes["custodian-2"]
	waitFor(t, "block known to the custodian", func() bool {
		_, err := nd.Client.Block(t.Context(), r.ID)
		return err == nil
	})
	restart(t, n, "custodian-2")
	waitFor(t, "share after the restart", func() bool { return holdsShare(t, nd, r.ID) })
}

func TestPublisherKilledAfterTheAnnouncementSeedsAgain(t *testing.T) {
	n := network(t, 1)
	r := publish(t, n, content(t, 12<<20), node.WaitAnnounced)
	restart(t, n, "publisher")
	for _, name := range []string{"custodian-1", "custodian-2", "custodian-3"} {
		waitFor(t, "share of "+name, func() bool { return holdsShare(t, n.Nodes[name], r.ID) })
	}
}

func TestKilledDownloadResumes(t *testing.T) {
	n := network(t, 1)
	data := content(t, 24<<20)
	r := publish(t, n, data, node.WaitCustody)
	home := filepath.Join(n.Dir, "reader", "guest", n.Network.ChainID())
	cmd, err := devnet.Command(getArgs(n, r.ID, "reader")...)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "first rows on disk", func() bool {
		_, err := os.Stat(filepath.Join(home, "blocks", r.ID, "content"))
		return err == nil
	})
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if got := get(t, n, r.ID, "reader"); !bytes.Equal(got, data) {
		t.Error("the resumed download differs from what was published")
	}
	if _, err := os.Stat(filepath.Join(home, "blocks", r.ID)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("rows of a finished one-shot download: %v, want gone", err)
	}
}

func getArgs(n *devnet.Net, id, reader string) []string {
	return []string{
		"get", id, "--network", n.File, "--home", filepath.Join(n.Dir, reader),
		"-o", filepath.Join(n.Dir, reader+".out"), "--force", "--listen", n.Address(0).String(),
	}
}

// get runs `granary get` as a process of its own and returns what it wrote.
func get(t *testing.T, n *devnet.Net, id, reader string) []byte {
	t.Helper()
	cmd, err := devnet.Command(getArgs(n, id, reader)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("granary get: %v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(n.Dir, reader+".out"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHomeAndPortsInUseAreSaid(t *testing.T) {
	n := network(t, 1)
	nd := n.Nodes["custodian-1"]
	other := filepath.Join(n.Dir, "other")
	for _, test := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"--home", nd.Home}, exit.Locked, "in use by another process"},
		{[]string{"--home", other, "--network", n.File, "--port", fmt.Sprint(nd.Port), "--torrent-port", "0"}, exit.TryAgain, "choose another with --port"},
		{[]string{"--home", other, "--network", n.File, "--port", "0", "--torrent-port", fmt.Sprint(nd.TorrentPort)}, exit.TryAgain, "choose another with --torrent-port"},
	} {
		cmd, err := devnet.Command(append([]string{"node", "--listen", nd.IP.String()}, test.args...)...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
		out, _ := cmd.CombinedOutput() // the status is looked at below
		stop()
		cancel()
		if got := cmd.ProcessState.ExitCode(); got != test.status || !strings.Contains(string(out), test.says) {
			t.Errorf("granary node %v: exit status %d with\n%s\nwant %d and %q", test.args, got, out, test.status, test.says)
		}
	}
}

// TestStoppedNodeWaitsForNoContent: who publishes what is still being written keeps
// no node from ending, and is told that it did.
func TestStoppedNodeWaitsForNoContent(t *testing.T) {
	n := layOut(t, devnet.Plan{Validators: 1})
	nd := n.Nodes["publisher"]
	if err := n.Start(t.Context(), nd.Name); err != nil {
		t.Fatal(err)
	}
	content, writer := io.Pipe()
	defer writer.Close()
	published := make(chan error, 1)
	go func() {
		_, err := nd.Client.Publish(t.Context(), "slow", content, node.PublishOptions{Patience: patience, Keep: 1}, nil)
		published <- err
	}()
	if _, err := writer.Write(make([]byte, 1<<20)); err != nil { // it is on its way to the node
		t.Fatal(err)
	}
	if err := nd.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := <-published
	if status, _ := exit.Of(err); status != exit.TryAgain || !strings.Contains(err.Error(), "was stopped") {
		t.Errorf("publish ends with status %d: %v", status, err)
	}
}
