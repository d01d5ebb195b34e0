package kad

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"granary/sampling"
)

// tableFile is a table as it is kept.
type tableFile struct {
	V      int                `json:"v"`
	Looked map[int]time.Time  `json:"looked"` // by group
	Known  map[string]keptOne `json:"known"`  // by peer ID
}

type keptOne struct {
	Addrs  []string  `json:"addrs"`
	Heard  time.Time `json:"heard,omitzero"`
	Named  time.Time `json:"named,omitzero"`
	Failed int       `json:"failed,omitempty"`
}

// encode returns the table as it is kept.
func (t *table) encode() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := tableFile{V: 1, Looked: map[int]time.Time{}, Known: map[string]keptOne{}}
	for g, at := range t.looked {
		if !at.IsZero() {
			f.Looked[g] = at.UTC().Truncate(time.Second)
		}
	}
	for p, k := range t.known {
		one := keptOne{Heard: k.heard.UTC().Truncate(time.Second), Named: k.named.UTC().Truncate(time.Second), Failed: k.failed}
		for _, a := range k.addrs {
			one.Addrs = append(one.Addrs, a.String())
		}
		f.Known[p.String()] = one
	}
	raw, err := json.Marshal(f)
	if err != nil {
		panic(fmt.Sprintf("BUG: encode holders: %v", err))
	}
	return append(raw, '\n')
}

// decode fills an empty table with what encode returned. What is damaged, from
// the future or no custodian of this network is left out.
func (t *table) decode(raw []byte, now time.Time) error {
	var f tableFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return fmt.Errorf("read holders: %w", err)
	}
	if f.V != 1 {
		return fmt.Errorf("read holders: version %d is not 1", f.V)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for g, at := range f.Looked {
		if g >= 0 && g < sampling.Groups && !at.After(now) {
			t.looked[g] = at
		}
	}
	for text, one := range f.Known {
		p, err := peer.Decode(text)
		if err != nil || one.Heard.After(now) || one.Named.After(now) || len(t.known) == maxKnown {
			continue
		}
		k := t.entry(p)
		if k == nil {
			continue
		}
		k.heard, k.named, k.failed = one.Heard, one.Named, min(max(one.Failed, 0), maxFailures)
		k.addrs = nil // a peer ID can be written in two ways
		for _, text := range one.Addrs[:min(len(one.Addrs), maxKnownAddrs)] {
			if a, err := ma.NewMultiaddr(text); err == nil && len(text) <= maxAddr {
				k.addrs = append(k.addrs, a)
			}
		}
	}
	return nil
}
