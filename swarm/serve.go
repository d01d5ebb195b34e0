package swarm

import "sync"

// Serve turns serving on, as it is at first, or off. While it is off nobody is
// let in and no row is sent; fetches go on, by connections that we open, and
// those connections end with them. ServeAnyway excepts single torrents.
func (s *Swarm) Serve(on bool) {
	s.serving.Lock()
	defer s.serving.Unlock()
	s.silent.Store(!on)
	for _, t := range s.list() {
		t.applyServing()
	}
}

// ServeAnyway serves t until done is called, also while the swarm does not
// serve: a block just published, say, that others must fetch from us.
func (t *Torrent) ServeAnyway() (done func()) {
	add := func(n int64) {
		t.swarm.serving.Lock()
		defer t.swarm.serving.Unlock()
		t.swarm.exceptions.Add(n)
		t.anyway.Add(n)
		t.applyServing()
	}
	add(1)
	return sync.OnceFunc(func() { add(-1) })
}

// serves reports whether rows of t may be sent.
func (t *Torrent) serves() bool { return !t.swarm.silent.Load() || t.anyway.Load() > 0 }

// lets reports whether somebody who calls in may be served anything.
func (s *Swarm) lets() bool { return !s.silent.Load() || s.exceptions.Load() > 0 }

// applyServing makes the engine follow serves. s.serving is held, so that the
// last change is the one that stays.
func (t *Torrent) applyServing() {
	if t.serves() {
		t.handle.AllowDataUpload()
		return
	}
	t.handle.DisallowDataUpload()
	t.closeUnused()
}

// closeUnused closes all connections of a torrent that is neither served nor
// fetched.
func (t *Torrent) closeUnused() {
	t.mu.Lock()
	fetching := len(t.jobs) > 0
	t.mu.Unlock()
	if fetching || t.serves() {
		return
	}
	for _, pc := range t.handle.PeerConns() {
		_ = pc.Close()
	}
}
