package swarm

import (
	"slices"
	"time"

	"github.com/anacrolix/torrent/metainfo"

	"granary/erasure"
)

const (
	// restAfter is how long a torrent that stands by is kept in the engine with
	// nobody there. It outlasts the moment between Add and a fetch.
	restAfter = time.Minute

	// maxResting bounds the torrents that were called up and that nobody is
	// connected to, whatever strangers ask for: at 250 KiB each, 16 MiB.
	maxResting = 64
)

// standby is a block that is served as soon as somebody asks for it.
type standby struct {
	id    erasure.ID
	block Block
}

// Offer serves what b holds to whoever asks, like Add, but keeps it out of the
// engine until somebody does, or it is added, and again a while after: an idle
// torrent of 1,024 pieces takes the engine 250 KiB and 7 ms.
// If it is in the engine, Offer is Refresh. Remove ends the offer. Of a block
// whose description turns out to be damaged nothing is served, which is logged.
func (s *Swarm) Offer(id erasure.ID, b Block) {
	s.mu.Lock()
	s.offered[shortHash(id)] = standby{id, b}
	t := s.torrents[id]
	s.mu.Unlock()
	if t != nil {
		t.Refresh()
	}
}

// callUp adds the offered block that a peer named in its handshake, before the
// engine looks for it.
func (s *Swarm) callUp(hash metainfo.Hash) {
	s.mu.Lock()
	o, ok := s.offered[hash]
	_, there := s.torrents[o.id]
	s.mu.Unlock()
	if !ok || there || s.silent.Load() {
		return
	}
	s.rest(time.Now(), maxResting-1)
	bundle := o.block.Bundle()
	if err := bundle.Check(); err != nil {
		s.log.Error("block cannot be served", "block", o.id.Short(), "err", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok = s.offered[hash] // Remove may have been here
	_, there = s.torrents[o.id]
	if !ok || there {
		return
	}
	t, err := s.addLocked(bundle, o.block)
	if err != nil {
		s.log.Debug("block not called up", "block", o.id.Short(), "err", err)
		return
	}
	t.used, t.called = time.Now(), true
}

// rest takes torrents out of the engine that stand by and that nobody uses: those
// unused for restAfter, and of those that only peers asked for the oldest, until
// at most keep of them are left.
func (s *Swarm) rest(now time.Time, keep int) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	var drop, left []*Torrent
	for _, t := range s.torrents {
		switch _, offered := s.offered[shortHash(t.id)]; {
		case !offered:
		case t.inUse():
			t.used = now
		case now.Sub(t.used) > restAfter:
			drop = append(drop, t)
		case t.called:
			left = append(left, t)
		}
	}
	slices.SortFunc(left, func(a, b *Torrent) int { return a.used.Compare(b.used) })
	drop = append(drop, left[:max(len(left)-keep, 0)]...)
	for _, t := range drop {
		s.dropLocked(t)
	}
	s.mu.Unlock()
	for _, t := range drop {
		t.release()
	}
}

// inUse reports whether somebody fetches t, is connected to it, or made an
// exception for it.
func (t *Torrent) inUse() bool {
	if t.anyway.Load() > 0 {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.jobs) > 0 || len(t.peers) > 0 || t.committing.Count() > 0
}

// secretKeys yields the hashes of all blocks served, for obfuscated handshakes.
func (s *Swarm) secretKeys(f func(key []byte) (more bool)) {
	s.mu.Lock()
	keys := make([]metainfo.Hash, 0, len(s.offered)+len(s.torrents))
	for hash := range s.offered {
		keys = append(keys, hash)
	}
	for id := range s.torrents {
		if _, ok := s.offered[shortHash(id)]; !ok {
			keys = append(keys, shortHash(id))
		}
	}
	s.mu.Unlock()
	for _, key := range keys {
		if !f(key[:]) {
			return
		}
	}
}
