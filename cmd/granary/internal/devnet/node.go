package devnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/gateway"
)

const (
	startTimeout = time.Minute      // a cold start on a busy machine
	endTimeout   = 10 * time.Second // then it is killed
)

// Node is one node of a devnet, running as a child process or not.
type Node struct {
	Name        string
	Role        string // "validator", "seeder" or "light"
	Home        string
	IP          netip.Addr
	Port        int // libp2p
	TorrentPort int
	Peer        peer.ID
	Args        []string        // further flags of `granary node`
	Client      *gateway.Client // of the running process

	run           []string // what runs granary where the node is; nil: this binary
	keys          *config.Home
	consensusPort int
	process       *exec.Cmd
	leash         io.Closer // closing it ends the process
	log           *os.File
	done          chan struct{} // closed when the process has ended
	peak          int64         // most memory its processes took, bytes; 0: not known
}

// Command prepares a child of this binary. The parent's other end of its
// standard input is returned: closing it ends a child that runs on a leash.
func Command(args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(self, args...)
	cmd.Args[0] = "granary"
	return cmd, nil
}

// Command is the package's Command, run where the node is.
func (nd *Node) Command(args ...string) (*exec.Cmd, error) {
	if nd.run == nil {
		return Command(args...)
	}
	args = append(nd.run[1:len(nd.run):len(nd.run)], args...)
	return exec.Command(nd.run[0], args...), nil
}

// Start starts the process; Await waits until it answers.
func (nd *Node) Start(context.Context) error {
	args := append([]string{"node", "--home", nd.Home, "--leash", "-v"}, nd.Args...)
	cmd, err := nd.Command(args...)
	if err != nil {
		return err
	}
	nd.log, err = os.OpenFile(nd.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", nd.Name, err)
	}
	cmd.Stdout, cmd.Stderr = nd.log, nd.log
	nd.leash, err = cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", nd.Name, err), nd.log.Close())
	}
	nd.process, nd.done = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(nd.done)
	}()
	return nil
}

// Await waits until the node answers on its socket.
func (nd *Node) Await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("it did not answer in time"))
	defer cancel()
	ctx, gone := context.WithCancelCause(ctx)
	defer gone(nil)
	done := nd.done // of this process, not of one started later
	go func() {
		select {
		case <-done:
			gone(errors.New("it ended"))
		case <-ctx.Done():
		}
	}()
	c, err := gateway.Await(ctx, func() string { return config.Socket(nd.Home) })
	if err != nil {
		return fmt.Errorf("start %s: %w\n%s", nd.Name, err, nd.tail())
	}
	nd.Client = c
	return nil
}

// notePeak remembers the most memory that the process took, where the system
// tells.
func (nd *Node) notePeak() {
	if nd.process == nil {
		return
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", nd.process.Process.Pid))
	if err != nil {
		return // not Linux, or gone
	}
	for line := range strings.Lines(string(raw)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			nd.peak = max(nd.peak, kib<<10)
		}
	}
}

// Kill ends the process with SIGKILL, as a power cut would.
func (nd *Node) Kill() error {
	if nd.process == nil {
		return nil
	}
	nd.notePeak()
	if err := nd.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", nd.Name, err)
	}
	return nd.end()
}

// Signal sends a signal to the running process.
func (nd *Node) Signal(sig os.Signal) error {
	if nd.process == nil {
		return os.ErrProcessDone
	}
	return nd.process.Process.Signal(sig)
}

// release asks the process to end.
func (nd *Node) release() {
	if nd.process != nil {
		nd.leash.Close() // the child sees the end of its standard input
	}
}

// end waits for the process, and kills it if it takes too long.
func (nd *Node) end() error {
	if nd.process == nil {
		return nil
	}
	var err error
	select {
	case <-nd.done:
	case <-time.After(endTimeout):
		err = fmt.Errorf("%s did not end in %v and was killed", nd.Name, endTimeout)
		err = errors.Join(err, nd.process.Process.Kill())
		<-nd.done
	}
	nd.process = nil
	if nd.Client != nil {
		err = errors.Join(err, nd.Client.Close())
	}
	return errors.Join(err, nd.log.Close())
}

// Log is the path of the node's log.
func (nd *Node) Log() string { return filepath.Join(nd.Home, "node.log") }

// tail returns the end of the node's log, for an error message.
func (nd *Node) tail() string {
	raw, err := os.ReadFile(nd.Log())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}
