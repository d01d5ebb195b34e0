package demo

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

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
	}{s.told("recover", got.took), got},
		"%d. recover  a newcomer with the ID and the network file: %d rows (k = %d), %s from %d peers, decoded and clean in %s\n            SHA-256 %s, equal",
		s.step, got.RowsUsed, s.record.Rows/2, size(got.BytesRead), got.Peers, ms(got.took), got.sha256)
}

// catchLiar lets a second downloader know a dishonest seeder first, and only
// it: it claims every piece and serves wrong bytes.
func (s *story) catchLiar(ctx context.Context) error {
	liar, err := s.net.Add("liar", "light")
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
	if _, err := liar.Client.Fetch(ctx, id, node.FetchOptions{Patience: s.patience}, nil); err != nil {
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
	}{s.told("catch a liar", got.took), got, liar.IP},
		"%d. a liar   a second downloader knew a seeder of wrong bytes first: %s caught and banned, content whole from %d others in %s",
		s.step, liar.IP, got.Peers, ms(got.took))
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
	d := download{}
	args := append([]string{"get", s.record.ID, "-o", out, "--timeout", s.patience.String()}, more...)
	if err := s.command(ctx, user{name, network, ip}, args, 0, &d.FetchResult); err != nil {
		return download{}, err
	}
	d.took = time.Since(began)
	var err error
	if d.sha256, _, err = sum(out); err != nil {
		return download{}, err
	}
	if d.sha256 != s.result.SHA256 {
		return download{}, fmt.Errorf("what %s fetched has SHA-256 %s, the original %s", name, d.sha256, s.result.SHA256)
	}
	return d, nil
}
