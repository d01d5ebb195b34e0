package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
	"granary/sampling"
)

// internet is a network of real nodes in a lab: no devnet, so they dial public
// addresses only and find out for themselves whether others reach them.
type internet struct {
	*lab
	*devnet.Net
	t      *testing.T
	began  time.Time
	places []*place // of the nodes, in the order in which they were laid out
}

// uploadRate caps the publisher's line, in bytes per second.
const uploadRate = 800_000

// newInternet starts validators, custodians and a publisher, far from each other or
// not. The last custodian is behind a router that forwards nothing.
func newInternet(t *testing.T, validators, custodians int, far bool) *internet {
	t.Helper()
	n := &internet{lab: newLab(t, 2), t: t, began: time.Now()}
	if far {
		n.distances()
	}
	place := func(i int) devnet.Place {
		p := n.home
		if i == validators+custodians || i > validators+custodians+1 {
			p = n.behindNAT
		}
		n.places = append(n.places, p(10, 50))
		return n.places[i-1].node()
	}
	n.Net = layOut(t, devnet.Plan{Validators: validators, Custodians: custodians, RetryRound: time.Second / 2, Place: place})
	for _, nd := range n.Nodes {
		nd.Args = []string{"-v"} // beside the -v that each has: announcements are logged
	}
	n.Nodes["validator-1"].Args = append(n.Nodes["validator-1"].Args, "--relay")
	n.Nodes["publisher"].Args = append(n.Nodes["publisher"].Args, "--upload-rate", fmt.Sprint(uploadRate))
	if err := n.Start(t.Context(), slices.Sorted(maps.Keys(n.Nodes))...); err != nil {
		t.Fatal(err)
	}
	n.step("%d nodes started", len(n.Nodes))
	return n
}

// step logs what came to pass, and when.
func (n *internet) step(format string, args ...any) {
	n.t.Helper()
	n.t.Logf("%5.1f s  %s", time.Since(n.began).Seconds(), fmt.Sprintf(format, args...))
}

// verify runs `granary verify` in a place and returns its result and what it
// says meanwhile, to which each also sends.
func (n *internet) verify(p *place, said func(string), args ...string) node.VerifyResult {
	n.t.Helper()
	cmd := p.granary(append([]string{"verify", "--json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		n.t.Fatal(err)
	}
	var r struct {
		Type string `json:"type"`
		Text string `json:"text"`
		node.VerifyResult
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			n.t.Errorf("%s: %v", lines.Text(), err)
		}
		if r.Type == "progress" {
			said(r.Text)
		}
	}
	err = cmd.Wait()
	if (err == nil) != (r.Verdict == sampling.Available) {
		n.t.Errorf("%s, because %s, with %v", r.Verdict, r.Reason, err)
	}
	return r.VerifyResult
}

// TestASmallInternet is what issue and design promise about the network itself,
// over real sockets: lines of 10 Mbit/s up and 50 down that lose 2 % of all
// packets, address translation, and a partition. The long test has distances, too.
func TestASmallInternet(t *testing.T) {
	validators, custodians, size := 1, 4, 70*erasure.RowSize // more than are simply decoded
	long := os.Getenv("GRANARY_INTERNET") != ""
	if long {
		validators, custodians, size = 4, 8, 12<<20
	}
	n := newInternet(t, validators, custodians, long)

	publisher := n.places[validators+custodians]
	before, began := publisher.sent(), time.Now()
	r := publish(t, n.Net, content(t, size), node.WaitCertified)
	for i := range custodians {
		name := fmt.Sprintf("custodian-%d", i+1)
		waitFor(t, "share of "+name, func() bool { return holdsShare(t, n.Nodes[name], r.ID) })
	}
	sent, took := publisher.sent()-before, time.Since(began)
	n.step("%s certified and kept; its publisher sent %d bytes, %.0f a second", r.ID[:8], sent, float64(sent)/took.Seconds())
	if most := uploadRate * took.Seconds() * 1.05; float64(sent) > most+64<<10 {
		t.Errorf("the publisher sent %d bytes in %v, want at most %.0f", sent, took, most)
	}

	// Somebody at home, behind a router too, who passes by.
	light := n.behindNAT(10, 50)
	guest := []string{r.ID, "--network", n.File, "--home", filepath.Join(n.Dir, "guest")}
	v := n.verify(light, func(string) {}, guest...)
	n.step("%s: %d rows, %d missing, %d holders, %d ms", v.Verdict, v.Samples, v.Missing, v.Holders, v.TookMS)
	if v.Verdict != sampling.Available {
		t.Errorf("verdict %s, because %s; want available", v.Verdict, v.Reason)
	}

	n.split(light)
	n.step("cut off")
	var told []string
	v = n.verify(light, func(text string) {
		told = append(told, text)
		if strings.Contains(text, string(sampling.Inconclusive)) {
			n.heal()
			n.step("healed after: %s", text)
		}
	}, append(guest, "--timeout", "2s", "--wait", patience.String())...)
	n.step("%s after %d ms", v.Verdict, v.TookMS)
	text := strings.Join(told, "\n")
	if v.Verdict != sampling.Available || !strings.Contains(text, string(sampling.Inconclusive)) || strings.Contains(text, string(sampling.Unavailable)) {
		t.Errorf("cut off and healed: %s; meanwhile:\n%s\nwant inconclusive and then available", v.Verdict, text)
	}

	// The custodian behind a router knows it, says what to do, and is of use.
	hidden := n.Nodes[fmt.Sprintf("custodian-%d", custodians)]
	waitFor(t, "word that it cannot be dialled, and a relay", func() bool {
		s, err := hidden.Client.Status(t.Context())
		return err == nil && s.Reach.State == "closed" && len(s.Reach.Relays) > 0
	})
	s, err := hidden.Client.Peers(t.Context())
	if err != nil || !strings.Contains(s.Reach.Words, "forward port 4747") {
		t.Errorf("peers says %q, %v; want what to do about the router", s.Reach.Words, err)
	}
	n.step("%s", s.Reach.Words)

	n.places = append(n.places, light)
	newcomer, err := n.Add("newcomer", "light")
	if err == nil {
		err = n.Start(t.Context(), "newcomer")
	}
	if err != nil {
		t.Fatal(err)
	}
	ref, err := node.ParseRef(r.ID)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "row from the custodian behind its router", func() bool {
		if _, err := newcomer.Client.Verify(t.Context(), ref, node.VerifyOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		s, err := newcomer.Client.Peers(t.Context())
		return err == nil && slices.ContainsFunc(s.Peers, func(p node.PeerStatus) bool {
			return p.Peer == hidden.Peer.String() && !p.Relayed && !p.Useful.IsZero()
		})
	})
	n.step("two nodes behind routers met")

	if long {
		n.heads()
		n.floods(newcomer, ref)
		n.splitWhileItRuns(newcomer, light, ref)
	}
}

// floods has two strangers ask everybody for more than they are given. It
// compares the slowest of an honest node's tests with and without them.
func (n *internet) floods(honest *devnet.Node, ref node.Ref) {
	n.t.Helper()
	calm := slowest(n.t, honest, ref)
	for range 2 {
		from := n.home(50, 50)
		cmd := from.command(n.flooder, n.File, from.ip.String(), ref.ID.String())
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			n.t.Fatal(err)
		}
		defer func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // killed
		}()
		if lines := bufio.NewScanner(out); !lines.Scan() || lines.Text() != "all were asked" {
			n.t.Fatalf("flooder: %q, %v", lines.Text(), lines.Err())
		}
	}
	flooded := slowest(n.t, honest, ref)
	n.step("the slowest of 20 verdicts took %v, under a flood %v", calm, flooded)
	if flooded > 3*calm {
		n.t.Errorf("under a flood a verdict took %v, without %v; want at most three times as long", flooded, calm)
	}
}

// heads tells from the logs how long announcements took from who made them to
// everybody else, over real sockets and through the losses.
func (n *internet) heads() {
	n.t.Helper()
	line := regexp.MustCompile(`time=(\S+) level=DEBUG msg="head (announced|heard)".* head=(\w+)`)
	made, heard := map[string]time.Time{}, map[string][]time.Time{}
	for _, nd := range n.Nodes {
		raw, err := os.ReadFile(nd.Log())
		if err != nil {
			n.t.Fatal(err)
		}
		for _, m := range line.FindAllStringSubmatch(string(raw), -1) {
			at, err := time.Parse(time.RFC3339, m[1])
			if err != nil {
				n.t.Fatal(err)
			}
			if m[2] == "announced" {
				made[m[3]] = at
			} else {
				heard[m[3]] = append(heard[m[3]], at)
			}
		}
	}
	var took []time.Duration
	for head, all := range heard {
		for _, at := range all {
			took = append(took, at.Sub(made[head]))
		}
	}
	if len(took) == 0 {
		n.t.Fatal("no head was heard of")
	}
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	n.step("%d heads heard %d times: after %v (p50), %v (p99), %v at most", len(heard), len(took), took[len(took)/2], p99, took[len(took)-1])
	if p99 > time.Second {
		n.t.Errorf("announcements took %v, want at most 1 s", p99)
	}
}

// splitWhileItRuns leaves a node that knows everybody alone with one custodian,
// which has some of the rows.
func (n *internet) splitWhileItRuns(nd *devnet.Node, at *place, ref node.Ref) {
	n.t.Helper()
	n.split(at, n.places[len(n.Network.Genesis.Validators)])
	healed := false
	v, err := nd.Client.Verify(n.t.Context(), ref, node.VerifyOptions{Wait: patience}, func(p node.Progress) {
		switch {
		case strings.HasPrefix(p.Text, string(sampling.Unavailable)):
			n.t.Errorf("alone with one custodian: %s", p.Text)
		case !healed && strings.HasPrefix(p.Text, string(sampling.Inconclusive)):
			n.step("healed after: %s", p.Text)
			n.heal()
			healed = true
		}
	})
	n.step("%s after %d ms", v.Verdict, v.TookMS)
	if err != nil || !healed || v.Verdict != sampling.Available {
		n.t.Errorf("alone with one custodian, then healed (%v): %s, because %s, %v; want inconclusive and then available", healed, v.Verdict, v.Reason, err)
	}
}
