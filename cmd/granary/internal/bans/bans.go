// Package bans remembers over restarts who sent wrong bytes.
package bans

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"granary/cmd/granary/internal/durable"
)

const (
	// A ban outlives restarts for a week: addresses change hands. The newest
	// ones are kept when there are too many.
	banFor  = 7 * 24 * time.Hour
	maxBans = 1024

	maxFile = 1 << 20 // ten times what maxBans take
)

// ban is an element of the file.
type ban struct {
	IP    netip.Addr `json:"ip"`
	Since time.Time  `json:"since"`
}

// List remembers who was banned when. It is for one goroutine.
type List struct {
	path  string
	known []ban               // newest first
	seen  map[netip.Addr]bool // in known, or was before there were too many
}

// Open reads the bans that still hold. A file that cannot be read bans
// nobody: each liar costs a few pieces until it is found out again.
func Open(path string, now time.Time) (*List, error) {
	l := &List{path: path, seen: map[netip.Addr]bool{}}
	raw, err := durable.Read(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &l.known)
	}
	if err != nil {
		l.known = nil
		return l, fmt.Errorf("read bans: %w", err)
	}
	l.known = slices.DeleteFunc(l.known, func(x ban) bool {
		return !x.IP.IsValid() || now.Sub(x.Since) > banFor || x.Since.After(now)
	})
	l.trim()
	for _, x := range l.known {
		l.seen[x.IP] = true
	}
	return l, nil
}

// Addresses is who is banned.
func (l *List) Addresses() []netip.Addr {
	var all []netip.Addr
	for _, x := range l.known {
		all = append(all, x.IP)
	}
	return all
}

// Keep writes the file if somebody in banned is new.
func (l *List) Keep(banned []netip.Addr, now time.Time) error {
	fresh := false
	for _, ip := range banned {
		if !l.seen[ip] {
			l.seen[ip] = true
			l.known = append(l.known, ban{ip, now.UTC().Truncate(time.Second)})
			fresh = true
		}
	}
	if !fresh {
		return nil
	}
	l.trim()
	raw, err := json.MarshalIndent(l.known, "", " ")
	if err != nil {
		return err
	}
	return durable.Write(l.path, append(raw, '\n'), 0o644)
}

func (l *List) trim() {
	slices.SortStableFunc(l.known, func(x, y ban) int { return cmp.Compare(y.Since.Unix(), x.Since.Unix()) })
	l.known = l.known[:min(len(l.known), maxBans)]
}
