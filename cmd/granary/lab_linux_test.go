package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"granary/cmd/granary/internal/devnet"
)

// lab is a small internet on this machine: places, each a network namespace,
// around one router that loses packets. A child process holds each namespace,
// and ends with this one, however it ends: then the kernel removes namespace
// and interfaces. They have no names outside, so labs never meet. Nothing in
// them has a route to the real network, so they use public addresses.
type lab struct {
	t      *testing.T
	router *place
	binary string // this program, under a name that makes it granary
	places int

	flooder string // and under one that makes it flood
}

// place is a machine in a lab.
type place struct {
	lab *lab
	ip  netip.Addr // its own: private behind a router
	wan netip.Addr // what others see of it
	pid int        // of the process that holds the namespace
}

// newLab starts a router that drops so many percent of the packets. Where
// that cannot be done the test is skipped, and says why.
func newLab(t *testing.T, loss int) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, tool := range []string{"ip", "nft", "tc", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("a lab of network namespaces needs %s: %v", tool, err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, binary: filepath.Join(t.TempDir(), "granary")}
	l.flooder = filepath.Join(filepath.Dir(l.binary), "flood")
	if err := errors.Join(os.Symlink(self, l.binary), os.Symlink(self, l.flooder)); err != nil {
		t.Fatal(err)
	}
	l.router = l.place()
	if out, err := l.router.tryShell(fmt.Sprintf(`
		ip link set lo up
		echo 1 > /proc/sys/net/ipv4/ip_forward
		nft -f - <<-END
			table ip lab {
				chain split { type filter hook forward priority 0; }
				chain loss { type filter hook forward priority 1; iifname != far numgen random mod 100 < %d drop; }
			}
		END`, loss)); err != nil {
		t.Skipf("no router here: %v\n%s", err, out)
	}
	return l
}

// place makes a machine without interfaces.
func (l *lab) place() *place {
	l.t.Helper()
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	leash, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		l.t.Skipf("no network namespace: %v", err)
	}
	l.t.Cleanup(func() {
		_ = leash.Close()
		_ = cmd.Wait() // it only held the namespace
	})
	return &place{lab: l, pid: cmd.Process.Pid}
}

// home makes a machine with a public address on a line of so many Mbit/s.
func (l *lab) home(up, down int) *place {
	l.t.Helper()
	l.places++
	i, p := l.places, l.place()
	// Every home has a /16 of its own, as routing tables want it.
	p.ip = netip.AddrFrom4([4]byte{45, byte(i), 0, 2})
	p.wan = p.ip
	p.shell("ip link set lo up")
	l.router.shell(fmt.Sprintf(`
		ip link add n%[1]d type veth peer name eth0 netns %[2]d
		ip addr add 45.%[1]d.0.1/24 dev n%[1]d
		ip link set n%[1]d up
		tc qdisc add dev n%[1]d root tbf rate %[3]dmbit burst 32kb latency 100ms`, i, p.pid, down))
	p.shell(fmt.Sprintf(`
		ip addr add %[1]s/24 dev eth0
		ip link set eth0 up
		ip route add default via 45.%[2]d.0.1
		tc qdisc add dev eth0 root tbf rate %[3]dmbit burst 32kb latency 100ms`, p.ip, i, up))
	return p
}

// behindNAT makes a machine behind a home's router, which translates
// addresses and forwards no port.
func (l *lab) behindNAT(up, down int) *place {
	l.t.Helper()
	gate, p := l.home(up, down), l.place()
	p.ip, p.wan = netip.MustParseAddr("192.168.1.2"), gate.ip
	gate.shell(fmt.Sprintf(`
		echo 1 > /proc/sys/net/ipv4/ip_forward
		ip link add lan type veth peer name eth0 netns %d
		ip addr add 192.168.1.1/24 dev lan
		ip link set lan up
		nft -f - <<-END
			table ip home {
				chain out { type nat hook postrouting priority srcnat; oifname eth0 masquerade; }
				chain in { type filter hook input priority 0; iifname eth0 ct state new drop; }
				chain through { type filter hook forward priority 0; iifname eth0 ct state new drop; }
			}
		END`, p.pid))
	p.shell(`
		ip link set lo up
		ip addr add 192.168.1.2/24 dev eth0
		ip link set eth0 up
		ip route add default via 192.168.1.1`)
	return p
}

// split cuts the given places off from all others; heal undoes it.
func (l *lab) split(side ...*place) {
	l.t.Helper()
	var all []string
	for _, p := range side {
		all = append(all, p.wan.String())
	}
	set := strings.Join(all, ", ")
	l.router.shell(fmt.Sprintf(`
		nft add rule ip lab split ip saddr { %[1]s } ip daddr != { %[1]s } drop
		nft add rule ip lab split ip saddr != { %[1]s } ip daddr { %[1]s } drop`, set))
}

func (l *lab) heal() {
	l.t.Helper()
	l.router.shell("nft flush chain ip lab split")
}

// sent is how many bytes have left the place, headers included.
func (p *place) sent() int64 {
	p.lab.t.Helper()
	for line := range strings.Lines(p.shell("cat /proc/net/dev")) {
		name, counters, _ := strings.Cut(strings.TrimSpace(line), ":")
		if f := strings.Fields(counters); name == "eth0" && len(f) > 8 {
			var n int64
			if _, err := fmt.Sscan(f[8], &n); err != nil {
				p.lab.t.Fatal(err)
			}
			return n
		}
	}
	p.lab.t.Fatal("no interface eth0")
	return 0
}

// enter is what runs a program in the place.
func (p *place) enter() []string {
	return []string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", p.pid), "--"}
}

// node is where a devnet puts a node.
func (p *place) node() devnet.Place {
	return devnet.Place{IP: p.ip, Run: append(p.enter(), p.lab.binary)}
}

// granary prepares a granary command in the place.
func (p *place) granary(args ...string) *exec.Cmd { return p.command(p.lab.binary, args...) }

// command prepares any command in the place.
func (p *place) command(name string, args ...string) *exec.Cmd {
	all := append(append(p.enter(), name), args...)
	return exec.Command(all[0], all[1:]...)
}

// shell runs a script in the place and returns its output.
func (p *place) shell(script string) string {
	p.lab.t.Helper()
	out, err := p.tryShell(script)
	if err != nil {
		p.lab.t.Fatalf("%v in\n%s\n%s", err, script, out)
	}
	return out
}

func (p *place) tryShell(script string) (string, error) {
	all := append(p.enter(), "sh", "-e")
	cmd := exec.Command(all[0], all[1:]...)
	cmd.Stdin = io.Reader(strings.NewReader(script + "\n"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}
