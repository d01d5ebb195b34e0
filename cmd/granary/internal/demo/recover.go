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
	"slices"
	"strings"
	"time"

	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
)

// recover lets a newcomer, who knows the ID and the network file, fetch the
// block from those left.
func (s *story) recover(ctx context.Context) error {
	got, err := s.get(ctx, "newcomer", s.net.File, s.net.Address(0))
	if err != nil {
		return err
	}
	s.result.Recovered, s.result.RecoverMS = got.sha256, got.took.Milliseconds()
	s.result.RowsFetched, s.result.BytesRead = got.RowsUsed, got.BytesRead
	return s.ui.Step(struct {
		step
		download
	}{step{4, "recover", got.took.Milliseconds()}, got},
		"4. recover  a newcomer with the ID and the network file: %d rows (k = %d), %s from %d peers, decoded and clean in %s\n            SHA-256 %s, equal",
		got.RowsUsed, s.record.Rows/2, size(got.BytesRead), got.Peers, ms(got.took), got.sha256)
}

// catchLiar lets a second downloader know a dishonest seeder first, and only
// it: it claims every piece and serves wrong bytes.
func (s *story) catchLiar(ctx context.Context) error {
	liar, err := s.net.Add("liar", false)
	if err != nil {
		return err
	}
	liar.Args = []string{"--fault-corrupt"}
	if err := s.net.Start(ctx, "liar"); err != nil {
		return err
	}
	id, err := node.ParseRef(s.record.ID)
	if err != nil {
		return err
	}
	if _, err := liar.Client.Fetch(ctx, id, node.FetchOptions{Patience: settle}, nil); err != nil {
		return fmt.Errorf("prepare the liar: %w", err)
	}
	file, err := s.net.WriteNetwork("liar-first.json", liar.Bootstrap())
	if err != nil {
		return err
	}
	got, err := s.get(ctx, "second", file, s.net.Address(1),
		"--peer", netip.AddrPortFrom(liar.IP, uint16(liar.TorrentPort)).String())
	if err != nil {
		return err
	}
	if !slices.Contains(got.Banned, liar.IP) {
		return fmt.Errorf("the download is whole but the liar at %s was not banned (banned: %v)", liar.IP, got.Banned)
	}
	s.result.Caught = true
	return s.ui.Step(struct {
		step
		download
		Liar netip.Addr `json:"liar"`
	}{step{5, "catch a liar", got.took.Milliseconds()}, got, liar.IP},
		"5. a liar   knew only a seeder that serves wrong bytes: %s caught and banned, content whole from %d others in %s",
		liar.IP, got.Peers, ms(got.took))
}

// download is what `granary get` reported, and what came of it.
type download struct {
	node.FetchResult
	sha256 string
	took   time.Duration // of the whole command
}

// get runs `granary get` as a new user would, in a home of its own.
func (s *story) get(ctx context.Context, name, network string, ip netip.Addr, more ...string) (download, error) {
	out := filepath.Join(s.net.Dir, name+".out")
	began := time.Now()
	args := append([]string{
		"get", s.record.ID, "--json", "-o", out,
		"--home", filepath.Join(s.net.Dir, name), "--network", network,
		"--listen", ip.String(), "--timeout", settle.String(),
	}, more...)
	cmd, err := devnet.Command(args...)
	if err != nil {
		return download{}, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return download{}, err
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return download{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // it may have ended by itself
	defer stop()
	d := download{}
	perr := s.follow(stdout, &d.FetchResult)
	if err := cmd.Wait(); err != nil || perr != nil {
		return download{}, errors.Join(fmt.Errorf("granary get in %q: %w", name, errors.Join(perr, err)), ctx.Err(), text(stderr.String()))
	}
	d.took = time.Since(began)
	if d.sha256, _, err = sum(out); err != nil {
		return download{}, err
	}
	if d.sha256 != s.result.SHA256 {
		return download{}, fmt.Errorf("what %s fetched has SHA-256 %s, the original %s", name, d.sha256, s.result.SHA256)
	}
	return d, nil
}

// follow reads the objects that a command prints: progress, then the result.
func (s *story) follow(stdout io.Reader, result *node.FetchResult) error {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
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
			return json.Unmarshal(lines.Bytes(), result)
		}
	}
	return errors.Join(lines.Err(), io.ErrUnexpectedEOF)
}

// text is an error of what a child wrote, nil if it wrote nothing.
func text(s string) error {
	if s = strings.TrimSpace(s); s == "" {
		return nil
	}
	return errors.New(s)
}
