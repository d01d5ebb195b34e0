package node

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"time"

	"granary/cmd/granary/internal/durable"
)

const (
	// bansFile, in the home, keeps who sent wrong bytes.
	bansFile = "bans.json"

	// A ban outlives restarts for a week: addresses change hands. The newest
	// ones are kept when there are too many.
	banFor  = 7 * 24 * time.Hour
	maxBans = 1024

	maxBansFile = 1 << 20 // ten times what maxBans take
)

// ban is a line of bansFile.
type ban struct {
	IP    netip.Addr `json:"ip"`
	Since time.Time  `json:"since"`
}

// bans remembers who was banned when.
type bans struct {
	path  string
	known []ban               // newest first
	seen  map[netip.Addr]bool // in known, or was before there were too many
}

// openBans reads the bans that still hold. A file that cannot be read bans
// nobody: each liar costs a few pieces until it is found out again.
func openBans(path string, now time.Time) (*bans, error) {
	b := &bans{path: path, seen: map[netip.Addr]bool{}}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return b, fmt.Errorf("read bans: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxBansFile))
	if err == nil {
		err = json.Unmarshal(raw, &b.known)
	}
	if err != nil {
		b.known = nil
		return b, fmt.Errorf("read bans: %w", err)
	}
	b.known = slices.DeleteFunc(b.known, func(x ban) bool {
		return !x.IP.IsValid() || now.Sub(x.Since) > banFor || x.Since.After(now)
	})
	b.trim()
	for _, x := range b.known {
		b.seen[x.IP] = true
	}
	return b, nil
}

// addresses is who is banned.
func (b *bans) addresses() []netip.Addr {
	var all []netip.Addr
	for _, x := range b.known {
		all = append(all, x.IP)
	}
	return all
}

// keep writes the file if somebody in banned is new.
func (b *bans) keep(banned []netip.Addr, now time.Time) error {
	fresh := false
	for _, ip := range banned {
		if !b.seen[ip] {
			b.seen[ip] = true
			b.known = append(b.known, ban{ip, now.UTC().Truncate(time.Second)})
			fresh = true
		}
	}
	if !fresh {
		return nil
	}
	b.trim()
	raw, err := json.MarshalIndent(b.known, "", " ")
	if err != nil {
		return err
	}
	return durable.Write(b.path, append(raw, '\n'), 0o644)
}

func (b *bans) trim() {
	slices.SortStableFunc(b.known, func(x, y ban) int { return cmp.Compare(y.Since.Unix(), x.Since.Unix()) })
	b.known = b.known[:min(len(b.known), maxBans)]
}
