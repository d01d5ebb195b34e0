package chain_test

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/ledger"
	"granary/ledger/chain"
)

// childEnv makes the test binary a validator: it is its number and the directory
// of its network.
const childEnv = "GRANARY_CHAIN_CHILD"

func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		if err := child(spec); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// roleEnv says what kind of validator it is: empty for an honest one.
const roleEnv = "GRANARY_CHAIN_ROLE"

// loadNetwork reads what newProcesses wrote.
func loadNetwork(dir string) (*network, error) {
	n := &network{dir: dir}
	raw, err := os.ReadFile(filepath.Join(dir, "genesis.json"))
	if err != nil {
		return nil, err
	}
	if n.genesis, err = ledger.ParseGenesis(raw); err != nil {
		return nil, err
	}
	ports, err := os.ReadFile(filepath.Join(dir, "ports"))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(ports))
	if n.ip, err = netip.ParseAddr(fields[0]); err != nil {
		return nil, err
	}
	for _, p := range fields[1:] {
		port, err := strconv.Atoi(p)
		if err != nil {
			return nil, err
		}
		n.ports = append(n.ports, port)
	}
	return n, nil
}

// child runs a validator until it is killed or its standard input ends. It
// prints every head that it has, and attests everything that it is not kept from:
// an honest one passes over what is withheld.
func child(spec string) error {
	number, dir, _ := strings.Cut(spec, " ")
	i, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	n, err := loadNetwork(dir)
	if err != nil {
		return err
	}
	if os.Getenv(roleEnv) == "signer" {
		return sign(n, i)
	}
	if os.Getenv(roleEnv) == "bystander" { // runs no chain, to be compared with
		fmt.Println("nothing")
		os.Stdin.Read(make([]byte, 1)) //nolint:errcheck // its end is what we wait for
		return nil
	}
	open := chain.Open
	byzantine := os.Getenv(roleEnv) == "byzantine"
	if byzantine {
		open = openByzantine
	}
	c, err := open(context.Background(), n.config(i))
	if err != nil {
		return err
	}
	go func() {
		os.Stdin.Read(make([]byte, 1)) //nolint:errcheck // its end is what we wait for
		os.Exit(0)
	}()
	for u, err := range c.Updates(context.Background(), 0) {
		if err != nil {
			return err
		}
		fmt.Printf("head %d %d %s\n", u.Height, u.Head.Size, u.Head.Root)
		pending, err := c.Unattested(ledger.KeyOf(key("consensus %d", i)))
		if err != nil {
			return err
		}
		for _, a := range pending {
			if _, err := os.Stat(withheld(dir, a.Record)); err == nil && !byzantine {
				continue
			}
			// A refusal is fine here: it waits already, or was decided meanwhile.
			_ = c.Attest(context.Background(), attestKey(i), []ledger.Attestation{{Index: a.Index, ID: a.Record.ID()}})
		}
	}
	return nil
}

// withheld is the file whose presence says that nobody can get a block.
func withheld(dir string, r ledger.Record) string {
	return filepath.Join(dir, "withheld-"+r.ID().String())
}

// processes are validators that can be killed, and what they said.
type processes struct {
	*network
	cmds []*exec.Cmd
	done []chan struct{} // closed when the process has ended and all it said is noted

	mu    sync.Mutex
	heads map[string]string // guarded by mu: by height, from whoever said it first
	size  []uint64          // guarded by mu: of the last head that each said
	said  map[string]int    // guarded by mu: everything else, and how often
}

// newProcesses starts validators, each a process, and leaves room for a full node
// in this one. roles are those of the first ones; honest if there is none.
func newProcesses(t testing.TB, validators int, heartbeat time.Duration, roles ...string) *processes {
	n := foundNetwork(t, validators, 1, heartbeat)
	p := &processes{
		network: n, cmds: make([]*exec.Cmd, validators), done: make([]chan struct{}, validators),
		heads: make(map[string]string), size: make([]uint64, validators), said: make(map[string]int),
	}
	if err := os.WriteFile(filepath.Join(n.dir, "genesis.json"), n.genesis.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.dir, "ports"), fmt.Append(nil, n.ip, " ", strings.Trim(fmt.Sprint(n.ports), "[]")), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for i := range p.cmds {
			p.kill(i)
		}
	})
	for i := range validators {
		if i < len(roles) {
			p.run(i, roleEnv+"="+roles[i])
		} else {
			p.run(i)
		}
	}
	return p
}

// run starts validator i.
func (p *processes) run(i int, env ...string) {
	p.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), fmt.Sprintf("%s=%d %s", childEnv, i, p.dir)), env...)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // which ends with this process
		p.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	done := make(chan struct{})
	p.cmds[i], p.done[i] = cmd, done
	p.mu.Lock()
	p.size[i] = 0 // it has said nothing yet
	p.mu.Unlock()
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.heard(i, lines.Text())
		}
	}()
}

// heard notes what a validator said, and checks that none ever said otherwise.
func (p *processes) heard(i int, line string) {
	fields := strings.Fields(line)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(fields) != 4 || fields[0] != "head" {
		p.said[line]++ // or the last line of one that was killed
		return
	}
	height, head := fields[1], fields[2]+" "+fields[3]
	if known, ok := p.heads[height]; ok && known != head {
		p.t.Errorf("validator %d has head %s at height %s, another had %s", i, head, height, known)
	}
	p.heads[height] = head
	p.size[i], _ = strconv.ParseUint(fields[2], 10, 64)
}

// reach waits until a validator has said a head of some size or more; heard
// compares it with what others say.
func (p *processes) reach(i int, size uint64) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("size %d at validator %d", size, i), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.size[i] >= size
	})
}

// eventually waits for what will be so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// kill ends validator i at once and waits for it.
func (p *processes) kill(i int) {
	if cmd := p.cmds[i]; cmd != nil {
		_ = cmd.Process.Kill() // fails if it has ended
		p.ended(i)
	}
}

// ended waits for validator i to end by itself.
func (p *processes) ended(i int) {
	<-p.done[i]
	_ = p.cmds[i].Wait() // it was killed: that is the error
	p.cmds[i] = nil
}

// certify publishes a block through the full node in this process and waits for
// its certificate.
func (p *processes) certify(name string) {
	p.t.Helper()
	full := len(p.cmds)
	index := p.announce(full, "publisher of "+name, 1, record(name))
	p.entry(full, index, ledger.EntryCertified)
}
