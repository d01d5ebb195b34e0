package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"

	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/gateway"
)

// user is somebody new to the network: a home of its own, a network file and
// an address.
type user struct {
	name    string
	network string // path of the network file
	ip      netip.Addr
}

// command runs one command line as a process, as that user would, wants the
// exit status, and reads what it reports into result.
func (s *story) command(ctx context.Context, u user, args []string, status int, result any) error {
	cmd, err := devnet.Command(append(args, "--json", "--home", filepath.Join(s.net.Dir, u.name),
		"--network", u.network, "--listen", u.ip.String())...)
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // it may have ended by itself
	defer stop()
	ferr := s.follow(stdout, result)
	werr := cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); ferr != nil || got != status {
		return errors.Join(fmt.Errorf("granary %s in %q: exit status %d, want %d", args[0], u.name, got, status),
			ferr, werr, ctx.Err(), text(stderr.String()))
	}
	return nil
}

// follow reads the objects that a command prints: progress, then the result.
func (s *story) follow(stdout io.Reader, result any) error {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	done := false
	for lines.Scan() {
		var kind gateway.Kind
		if err := json.Unmarshal(lines.Bytes(), &kind); err != nil {
			return err
		}
		switch kind.Type {
		case "progress":
			var p gateway.ProgressMessage
			if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
				return err
			}
			s.progress(p.Progress)
		case "error":
			var m gateway.ErrorMessage
			if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
				return err
			}
			return m.Err()
		case "result":
			if err := json.Unmarshal(lines.Bytes(), result); err != nil {
				return err
			}
			done = true
		}
	}
	if err := lines.Err(); err != nil || done {
		return err
	}
	return io.ErrUnexpectedEOF
}

// text is an error of what a child wrote, nil if it wrote nothing.
func text(s string) error {
	if s = strings.TrimSpace(s); s == "" {
		return nil
	}
	return errors.New(s)
}
