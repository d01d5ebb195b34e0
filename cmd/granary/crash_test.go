package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"granary/blobstore"
	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
)

// crashQuota holds two blocks of crashContent and their parity, not three.
const (
	crashContent = 1 << 20
	crashQuota   = 6_000_000
)

// crashes kills granary in two homes at random moments: one publishes, the other
// fetches more than its quota holds.
type crashes struct {
	t           *testing.T
	r           *rand.Rand
	n           *devnet.Net
	publisher   string
	reader      string
	truth       map[erasure.ID][2][]byte // content and parity, padded
	published   []erasure.ID             // acknowledged by the publisher's home
	fetched     []string                 // IDs that the network keeps
	fetches     int
	took        map[string]time.Duration // by the longest run of each verb
	interrupted int
}

// TestKilledAtAnyMomentLosesNothingAcknowledged kills `publish`, `get`, which
// drops what was fetched before, and `scrub --repair` of spoilt blocks, and looks
// at the homes after each: what was acknowledged is there, everything held is
// right, nothing else is claimed, and the next command just works. Ten rounds, or
// as many as GRANARY_TEST_ROUNDS says.
func TestKilledAtAnyMomentLosesNothingAcknowledged(t *testing.T) {
	rounds := 10
	if text := os.Getenv("GRANARY_TEST_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := newCrashes(t, rand.New(rand.NewPCG(seed, 0)))
	verbs := []func(bool){c.publish, c.get, c.get, c.scrub}
	for _, verb := range verbs[:2] { // to know how long they take
		verb(false)
	}
	for range rounds {
		verbs[c.r.IntN(len(verbs))](true)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d of %d commands were killed; they take up to %v", c.interrupted, rounds, c.took)
	c.get(false) // without help, everything goes on
	if err := c.n.Start(t.Context(), "publisher"); err != nil {
		t.Fatal(err)
	}
	for _, id := range c.published {
		if b, err := c.n.Nodes["publisher"].Client.Block(t.Context(), id.String()); err != nil || !b.Whole {
			t.Errorf("%s in the node that starts last: whole %v, %v", id.Short(), b.Whole, err)
		}
	}
}

// newCrashes publishes three blocks, which the validator keeps, and ends their
// publisher.
func newCrashes(t *testing.T, r *rand.Rand) *crashes {
	n, err := devnet.New(t.TempDir(), devnet.Plan{Validators: 1, Others: []string{"publisher"}, AnnounceWindow: 3 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close devnet: %v", err)
		}
	})
	if err := n.Start(t.Context(), "validator-1", "publisher"); err != nil {
		t.Fatal(err)
	}
	c := &crashes{
		t: t, r: r, n: n, publisher: n.Nodes["publisher"].Home, reader: filepath.Join(n.Dir, "reader"),
		truth: map[erasure.ID][2][]byte{}, took: map[string]time.Duration{},
	}
	for range 3 {
		id, data := c.block()
		got := publish(t, n, data, node.WaitCertified)
		if got.ID != id.String() {
			t.Fatalf("published %s, want %s", got.ID, id)
		}
		c.published = append(c.published, id)
		c.fetched = append(c.fetched, got.ID)
	}
	if err := n.Nodes["publisher"].Kill(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GRANARY_LISTEN", n.Address(0).String())
	exits(t, exit.OK, c.reader, "init", "--network", n.File)
	return c
}

// block makes content and remembers what a block named "killed" of it is.
func (c *crashes) block() (erasure.ID, []byte) {
	data := content(c.t, crashContent)
	g, err := erasure.NewGeometry(crashContent)
	if err != nil {
		c.t.Fatal(err)
	}
	files := [2][]byte{make([]byte, g.PaddedLength()), make([]byte, g.PaddedLength())}
	copy(files[0], data)
	bundle, err := erasure.Commit(c.t.Context(), "killed", crashContent, bytes.NewReader(files[0]), rows(files[1]), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.truth[bundle.Info.ID()] = files
	return bundle.Info.ID(), data
}

// rows is a file in memory.
type rows []byte

func (r rows) WriteAt(p []byte, off int64) (int, error) { return copy(r[off:], p), nil }

// run runs a command, which is killed at a random moment of the time that it
// takes at most, and returns what it said. ended: it came to its end before.
func (c *crashes) run(kill bool, args ...string) (said string, ended bool) {
	c.t.Helper()
	cmd, err := devnet.Command(args...)
	if err != nil {
		c.t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	moment := patience
	if kill {
		moment = time.Duration(c.r.Int64N(int64(c.took[args[0]]) * 11 / 10))
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	timer := time.AfterFunc(moment, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	timer.Stop()
	took := time.Since(began)
	if failed, ok := errors.AsType[*exec.ExitError](err); ok && !failed.Exited() {
		if !kill {
			c.t.Fatalf("granary %v did not end in %v\n%s", args, patience, out.Bytes())
		}
		c.interrupted++
		return out.String(), false
	}
	c.took[args[0]] = max(c.took[args[0]], took)
	if status := cmd.ProcessState.ExitCode(); status != exit.OK && status != exit.TryAgain {
		c.t.Errorf("granary %v: exit status %d\n%s", args, status, out.Bytes())
	}
	return out.String(), err == nil
}

func (c *crashes) publish(kill bool) {
	id, data := c.block()
	path := filepath.Join(c.n.Dir, "content")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		c.t.Fatal(err)
	}
	said, done := c.run(kill, "publish", path, "--name", "killed", "--json", "--wait", "announced", "--home", c.publisher)
	// What it says of the ledger it says of a block that is stored.
	if done || strings.Contains(said, `"certify"`) {
		c.published = append(c.published, id)
	}
	c.check(c.publisher, nil)
}

func (c *crashes) get(kill bool) {
	id := c.fetched[c.fetches%len(c.fetched)]
	c.fetches++
	out := filepath.Join(c.n.Dir, "out")
	c.t.Setenv("GRANARY_QUOTA", strconv.Itoa(crashQuota))
	_, done := c.run(kill, "get", id, "-o", out, "--force", "--home", c.reader)
	c.t.Setenv("GRANARY_QUOTA", "0")
	if !kill && !done {
		c.t.Errorf("%s cannot be fetched", id)
	}
	if done {
		parsed, err := erasure.ParseID(id)
		if err != nil {
			c.t.Fatal(err)
		}
		if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, c.truth[parsed][0][:crashContent]) {
			c.t.Errorf("what was fetched differs (%v)", err)
		}
	}
	c.check(c.reader, nil)
}

// scrub spoils rows of one published block first.
func (c *crashes) scrub(kill bool) {
	if c.took["scrub"] == 0 {
		c.run(false, "scrub", "--repair", "--home", c.publisher)
	}
	id := c.published[c.r.IntN(len(c.published))]
	spoilt := map[int]bool{}
	for range 1 + c.r.IntN(30) {
		spoilt[c.r.IntN(2*crashContent/erasure.RowSize)] = true
	}
	for row := range spoilt {
		name, at := "content", row
		if k := crashContent / erasure.RowSize; row >= k {
			name, at = "parity", row-k
		}
		f, err := os.OpenFile(filepath.Join(c.publisher, "blocks", id.String(), name), os.O_RDWR, 0)
		if err == nil {
			_, err = f.WriteAt([]byte("spoilt"), int64(at)*erasure.RowSize+int64(c.r.IntN(1000)))
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
	c.run(kill, "scrub", "--repair", "--home", c.publisher)
	c.check(c.publisher, spoilt)
	exits(c.t, exit.OK, c.publisher, "scrub", "--repair", id.String())
	c.check(c.publisher, nil)
}

// check looks at a home between two commands. Pieces, of one row each here, in
// spoilt may be wrong, or in quarantine.
func (c *crashes) check(home string, spoilt map[int]bool) {
	c.t.Helper()
	var logged bytes.Buffer
	cfg := blobstore.Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))}
	if home == c.reader {
		cfg.Quota = crashQuota
	}
	s, err := blobstore.Open(c.t.Context(), home, cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	defer s.Close()
	if damaged := s.Damaged(); len(damaged) > 0 || strings.Contains(logged.String(), "level=ERROR") {
		c.t.Errorf("a kill is no damage: %v\n%s", damaged, logged.String())
	}
	for _, b := range s.Blocks() {
		truth, known := c.truth[b.ID()]
		if !known {
			c.t.Errorf("%s is nothing that was ever handed in", b.ID())
			continue
		}
		for p := range b.Held().All() {
			first, count := b.Geometry().PieceSpan(p)
			k := b.Geometry().K()
			want := truth[first/k][first%k*erasure.RowSize:][:count*erasure.RowSize]
			got := make([]byte, len(want))
			if _, err := b.ReadPieceAt(p, got, 0); err != nil || !bytes.Equal(got, want) && !spoilt[p] {
				c.t.Errorf("%s: held piece %d is not what was stored (%v)", b.ID().Short(), p, err)
			}
		}
	}
	if home == c.publisher {
		for _, id := range c.published {
			b, err := s.Block(id)
			if err != nil || !b.Whole() && len(spoilt) == 0 {
				c.t.Errorf("%s was published and is not whole (%v)", id.Short(), err)
			}
		}
	}
	if u, err := s.Usage(); err != nil || cfg.Quota > 0 && u.Bytes > cfg.Quota {
		c.t.Errorf("%d bytes used of %d (%v)", u.Bytes, cfg.Quota, err)
	}
	left, err := filepath.Glob(filepath.Join(home, "blocks", ".*"))
	if inside, ierr := filepath.Glob(filepath.Join(home, "blocks", "*", ".*")); err != nil || ierr != nil || len(left)+len(inside) > 0 {
		c.t.Error(fmt.Sprint("left behind: ", left, inside, err, ierr))
	}
}
