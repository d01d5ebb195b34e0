package swarm

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/anacrolix/torrent/metainfo"

	"granary/erasure"
)

const (
	findTime  = 30 * time.Second // for one search
	seekEvery = time.Second      // how often a seeker looks what is due

	// What was asked for while nothing was wanted is asked for again when
	// something is, but not sooner than this.
	seekPause = 20 * time.Second

	// A source that fails is left alone for a minute, then twice as long, up to
	// half an hour.
	firstRetry = time.Minute
	maxRetry   = 30 * time.Minute

	// After so many failures in a row the source itself is taken to be down.
	manyFailures = 8

	maxFound  = 128 // addresses of a torrent that sources named
	foundEach = 64  // taken of one answer, at random
)

// seeker asks one source about all blocks, those that are being fetched first,
// as often as the source likes and a few at a time.
type seeker struct {
	s      *Swarm
	source source
	atOnce int

	mu     sync.Mutex
	asked  map[metainfo.Hash]*asked // guarded by mu
	failed int                      // guarded by mu: searches in a row, of whichever torrents
	down   time.Time                // guarded by mu: until then only for what is wanted
}

// asked is how a source was last asked about a torrent.
type asked struct {
	busy   bool
	wanted bool      // addresses were wanted then
	at     time.Time // when it was
	next   time.Time // when it is due again
	failed int       // times in a row
}

func (s *Swarm) newSeeker(src source, atOnce int) *seeker {
	return &seeker{s: s, source: src, atOnce: atOnce, asked: map[metainfo.Hash]*asked{}}
}

// seekIn has k ask about all blocks until the swarm is closed.
func (s *Swarm) seekIn(k *seeker) {
	s.seekers = append(s.seekers, k)
	s.running.Go(k.run)
}

// hurry makes a torrent due that was asked about before, and not within pause.
func (k *seeker) hurry(hash metainfo.Hash, now time.Time, pause time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if a := k.asked[hash]; a != nil && now.Add(pause).Before(a.next) {
		a.next = laterOf(now, a.at.Add(pause))
	}
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (k *seeker) run() {
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(seekEvery)
	defer tick.Stop()
	slots := make(chan struct{}, k.atOnce)
	for {
		for _, w := range k.due(time.Now(), k.atOnce-len(slots)) {
			slots <- struct{}{}
			running.Go(func() {
				k.ask(w)
				<-slots
			})
		}
		select {
		case <-tick.C:
		case <-k.s.ctx.Done():
			return
		}
	}
}

// due chooses up to n searches whose time has come, and marks them busy.
func (k *seeker) due(now time.Time, n int) []search {
	if n == 0 {
		return nil
	}
	all := k.s.searches()
	k.mu.Lock()
	defer k.mu.Unlock()
	there := make(map[metainfo.Hash]bool, len(all))
	var list []search
	for _, w := range all {
		there[w.hash] = true
		a := k.asked[w.hash]
		switch {
		case !w.wants && now.Before(k.down):
			continue
		case a == nil:
		case a.busy:
			continue
		case w.wants && !a.wanted && a.failed == 0 && now.Sub(a.at) >= seekPause:
		case now.Before(a.next):
			continue
		}
		list = append(list, w)
	}
	for hash, a := range k.asked {
		if !there[hash] && !a.busy && now.After(a.next) {
			delete(k.asked, hash)
		}
	}
	slices.SortFunc(list, func(a, b search) int {
		switch {
		case a.wants && !b.wants:
			return -1
		case b.wants && !a.wants:
			return 1
		}
		return k.last(a).Compare(k.last(b))
	})
	list = list[:min(len(list), n)]
	for i, w := range list {
		a := k.asked[w.hash]
		if a == nil {
			a = &asked{}
			k.asked[w.hash], list[i].first = a, true
		}
		a.busy, a.wanted, a.at = true, w.wants, now
	}
	return list
}

// last is when a torrent was last asked about. k.mu is held.
func (k *seeker) last(w search) time.Time {
	if a := k.asked[w.hash]; a != nil {
		return a.at
	}
	return time.Time{}
}

func retryAfter(failed int) time.Duration { return min(firstRetry<<min(failed, 8), maxRetry) }

func (k *seeker) ask(w search) {
	ctx, cancel := context.WithTimeout(k.s.ctx, findTime)
	defer cancel()
	if !w.wants && !k.s.holdsSome(w.hash) {
		k.answered(w.hash, seekPause, nil) // its pieces are still to come
		return
	}
	again, err := k.source.find(ctx, w, func(peers []netip.AddrPort) {
		if t, ok := k.s.byHash.Load(w.hash); ok && w.wants {
			t.(*Torrent).addFound(peers)
		}
	})
	if err != nil && k.s.ctx.Err() == nil {
		k.s.log.Debug("source of peers failed", "source", k.source, "err", err)
	}
	k.answered(w.hash, again, err)
}

// answered ends a search.
func (k *seeker) answered(hash metainfo.Hash, again time.Duration, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.asked[hash]
	a.busy = false
	now := time.Now()
	if err == nil {
		a.failed, k.failed = 0, 0
	} else {
		again = retryAfter(a.failed)
		a.failed++
		if k.failed++; k.failed >= manyFailures {
			k.down = now.Add(retryAfter(k.failed/manyFailures - 1))
		}
	}
	a.next = now.Add(again)
}

// holdsSome reports whether there is anything of a block to be served.
func (s *Swarm) holdsSome(hash metainfo.Hash) bool {
	var b Block
	if t, ok := s.byHash.Load(hash); ok {
		b = t.(*Torrent).block
	} else {
		s.mu.Lock()
		b = s.offered[hash].block
		s.mu.Unlock()
	}
	if b == nil {
		return false
	}
	const maxPieces = 1024 // of both files of the largest block; a smaller one has none of the others
	for p := range maxPieces {
		if b.Has(p) {
			return true
		}
	}
	return false
}

// searches lists what is fetched, and what is served while we serve.
func (s *Swarm) searches() []search {
	s.mu.Lock()
	defer s.mu.Unlock()
	silent := s.silent.Load() // then only that is told of for which an exception was made
	list := make([]search, 0, len(s.torrents)+len(s.offered))
	for id, t := range s.torrents {
		w := search{hash: shortHash(id), wants: t.fetching(), tells: t.serves()}
		if _, offered := s.offered[w.hash]; w.wants || w.tells && (silent || !offered) {
			w.left = t.lacks()
			list = append(list, w)
		}
	}
	if silent {
		return list
	}
	for hash, o := range s.offered {
		if t, ok := s.torrents[o.id]; !ok || !t.fetching() {
			list = append(list, search{hash: hash, tells: true})
		}
	}
	return list
}

// fetching reports whether somebody wants rows of t.
func (t *Torrent) fetching() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.jobs) > 0
}

// lacks is how many bytes are missing to k rows.
func (t *Torrent) lacks() int64 { return lacking(t.geo, t.block) }

// lacks is how many bytes are missing to k rows of a block that is offered.
func (s *Swarm) lacks(hash metainfo.Hash) int64 {
	s.mu.Lock()
	o, ok := s.offered[hash]
	s.mu.Unlock()
	if !ok {
		return 0
	}
	return lacking(o.block.Bundle().Info.Geometry(), o.block)
}

func lacking(geo erasure.Geometry, b Block) int64 {
	return int64(max(geo.K()-rowsOf(geo, b), 0)) * erasure.RowSize
}

// addFound tells of addresses that a source named. Anybody can have himself
// named there, as often as he likes, so they get half of the room: those that
// nodes of our own network gave must not be crowded out.
func (t *Torrent) addFound(peers []netip.AddrPort) {
	peers = slices.Clone(peers)
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	t.addPeers(true, peers[:min(len(peers), foundEach)])
}
