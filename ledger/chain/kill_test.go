package chain_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
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

// GRANARY_KILL_ROUNDS says how often TestKilledValidatorsContinue kills: 3 unless
// set. 100 take about ten minutes.
const killRounds = "GRANARY_KILL_ROUNDS"

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

// child runs a validator until it is killed or its standard input ends. It
// attests everything, and prints every head that it has.
func child(spec string) error {
	number, dir, _ := strings.Cut(spec, " ")
	i, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(dir, "genesis.json"))
	if err != nil {
		return err
	}
	n := &network{dir: dir}
	if n.genesis, err = ledger.ParseGenesis(raw); err != nil {
		return err
	}
	ports, err := os.ReadFile(filepath.Join(dir, "ports"))
	if err != nil {
		return err
	}
	fields := strings.Fields(string(ports))
	if n.ip, err = netip.ParseAddr(fields[0]); err != nil {
		return err
	}
	for _, p := range fields[1:] {
		port, err := strconv.Atoi(p)
		if err != nil {
			return err
		}
		n.ports = append(n.ports, port)
	}
	c, err := chain.Open(context.Background(), n.config(i))
	if err != nil {
		return err
	}
	go func() {
		os.Stdin.Read(make([]byte, 1)) //nolint:errcheck // its end is what we wait for
		os.Exit(0)
	}()
	attest := attestKey(i)
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
			// A refusal is fine here: it waits already, or was decided meanwhile.
			_ = c.Attest(context.Background(), attest, []ledger.Attestation{{Index: a.Index, ID: a.Record.ID()}})
		}
	}
	return nil
}

// processes are validators that can be killed, and what they said.
type processes struct {
	*network
	cmds []*exec.Cmd
	done []chan struct{} // closed when the process has ended and all it said is noted

	mu    sync.Mutex
	heads map[string]string // guarded by mu: by height, from whoever said it first
}

func newProcesses(t *testing.T, validators int) *processes {
	n := &network{
		t: t, genesis: testGenesis(validators, time.Second), dir: t.TempDir(),
		ip: loopback(), nodes: make([]*chain.Chain, validators+1),
	}
	n.ports = freePorts(t, n.ip, validators+1)
	t.Cleanup(n.close)
	p := &processes{network: n, cmds: make([]*exec.Cmd, validators), done: make([]chan struct{}, validators), heads: make(map[string]string)}
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
		p.run(i)
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
	if len(fields) != 4 || fields[0] != "head" {
		return // the last line of one that was killed
	}
	height, head := fields[1], fields[2]+" "+fields[3]
	p.mu.Lock()
	defer p.mu.Unlock()
	if known, ok := p.heads[height]; ok && known != head {
		p.t.Errorf("validator %d has head %s at height %s, another had %s", i, head, height, known)
	}
	p.heads[height] = head
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

func TestKilledValidatorsContinue(t *testing.T) {
	rounds := 3
	if s := os.Getenv(killRounds); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	p := newProcesses(t, 4)
	full := p.start(4)
	p.certify("before")
	for round := range rounds {
		from := p.head(4)
		raw, err := ledger.SignAnnounce(p.genesis.ChainID, key("killer %d", round), 1, record(fmt.Sprint("killed ", round)))
		if err != nil {
			t.Fatal(err)
		}
		p.submit(4, raw)
		after := delay(t, 400*time.Millisecond)
		victims := []int{round % 4}
		if round%3 == 2 {
			victims = []int{0, 1, 2, 3}
		}
		t.Logf("round %d: kill %v after %s", round, victims, after)
		ctx, cancel := context.WithTimeout(t.Context(), after)
		_, _ = full.Wait(ctx, 1<<40, 1<<40) // nothing comes that far: it waits
		cancel()
		for _, i := range victims {
			p.kill(i)
		}
		for _, i := range victims {
			p.run(i)
		}
		// All that waited at those who were killed is gone. Here it waits, or is in
		// the log.
		if err := full.Submit(t.Context(), raw); err != nil && !errors.Is(err, ledger.ErrNonce) {
			t.Fatal(err)
		}
		index := p.announced(4, from.Size, record(fmt.Sprint("killed ", round)).ID())
		p.entry(4, index, ledger.EntryCertified)
	}
	p.allSay(p.head(4))
}

// allSay waits until the validators said that they have a head, by restarting
// them: what they have on disk is what counts.
func (p *processes) allSay(want ledger.Head) {
	p.t.Helper()
	for i := range p.cmds {
		p.kill(i)
		c := p.start(i)
		p.until(i, want.Size-1, "the head", func(u chain.Update) bool { return u.Head.Size >= want.Size })
		err := c.View(func(s *ledger.State) {
			proof, err := s.Consistency(want.Size, s.Head().Size)
			if err == nil && s.Head().Size > want.Size {
				err = ledger.VerifyConsistency(want, s.Head(), proof)
			}
			if err != nil || s.Head().Size == want.Size && s.Head() != want {
				p.t.Errorf("validator %d has head %+v, want %+v (%v)", i, s.Head(), want, err)
			}
		})
		if err != nil {
			p.t.Error(err)
		}
	}
}

// TestValidatorContinuesFromEveryStep ends a validator at each of the steps by
// which the engine decides and stores a height, where it can be told to.
func TestValidatorContinuesFromEveryStep(t *testing.T) {
	steps := []int{1, 6, 9}
	if os.Getenv(killRounds) != "" {
		steps = nil
		for i := range 24 { // twice as many as a height has
			steps = append(steps, i)
		}
	}
	p := newProcesses(t, 4)
	p.start(4)
	for _, step := range steps {
		p.kill(3)
		p.run(3, fmt.Sprintf("FAIL_TEST_INDEX=%d", step))
		for k := 0; ; k++ { // heights, until it has come to its step
			p.certify(fmt.Sprint("step ", step, " ", k))
			select {
			case <-p.done[3]:
			default:
				continue
			}
			break
		}
		p.ended(3)
		p.run(3)
	}
	p.certify("in the end")
	p.allSay(p.head(4))
}

// delay returns a random duration below max.
func delay(t *testing.T, max time.Duration) time.Duration {
	t.Helper()
	d, err := rand.Int(rand.Reader, big.NewInt(int64(max)))
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(d.Int64())
}
