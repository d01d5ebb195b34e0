package swarm

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/anacrolix/torrent"

	"granary/erasure"
)

// peer is what we know of one connection.
type peer struct {
	conn     *torrent.PeerConn
	addr     netip.AddrPort // as seen on the socket
	listens  uint16         // the port it says it listens on; 0 unknown
	choked   bool           // it does not answer us now
	asked    map[int]int    // rows asked for and not yet arrived, by piece
	waiting  int            // their sum
	allowed  allowance      // how many there may be
	progress time.Time      // when its last row came, or the first was asked for
	grew     time.Time      // when it last told of a new piece
	payload  int64          // bytes of rows in both directions when last looked at
	quiet    time.Time      // since when that has been so
}

const (
	// A connection that owes rows and sends none for this long is closed. Slow
	// ones are not: the planner works around those.
	stalled = 10 * time.Second

	// A connection over which no row has gone for this long is closed, unless a
	// fetch is running: thousands of blocks would keep a connection for every
	// peer that once asked. Who wants more comes again.
	idleAfter  = 2 * time.Minute
	sweepEvery = 30 * time.Second
)

// dropStalled closes connections that owe us rows and do not send any.
func (t *Torrent) dropStalled() {
	now := time.Now()
	var drop []*torrent.PeerConn
	t.mu.Lock()
	for pc, p := range t.peers {
		if p.waiting > 0 && now.Sub(p.progress) > stalled {
			drop = append(drop, pc)
		}
	}
	t.mu.Unlock()
	for _, pc := range drop {
		_ = pc.Close()
	}
}

// sweep closes idle connections until the swarm is closed.
func (s *Swarm) sweep() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			s.dropIdle(now)
			s.rest(now, maxResting)
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *Swarm) dropIdle(now time.Time) {
	s.byHash.Range(func(_, t any) bool {
		t.(*Torrent).dropIdle(now)
		return true
	})
}

func (t *Torrent) dropIdle(now time.Time) {
	t.mu.Lock()
	var list []*peer
	if len(t.jobs) == 0 {
		list = slices.Collect(maps.Values(t.peers))
	}
	t.mu.Unlock()
	for _, p := range list {
		stats := p.conn.Stats()
		payload := stats.BytesReadData.Int64() + stats.BytesWrittenData.Int64()
		t.mu.Lock()
		if payload != p.payload {
			p.payload, p.quiet = payload, now
		}
		idle := now.Sub(p.quiet) > idleAfter
		t.mu.Unlock()
		if idle {
			_ = p.conn.Close()
		}
	}
}

// fetching is how long after its last new piece a peer counts as one that
// fetches, and so competes with us for those who have everything.
const fetching = 10 * time.Second

// offer is what a connected peer has.
type offer struct {
	peer    *peer
	has     erasure.PieceSet
	fetches bool // it seems to be after the same
}

func (t *Torrent) offers() []offer {
	t.mu.Lock()
	list := make([]offer, 0, len(t.peers))
	now := time.Now()
	for _, p := range t.peers {
		list = append(list, offer{peer: p, fetches: now.Sub(p.grew) < fetching})
	}
	t.mu.Unlock()
	for i := range list {
		list[i].has = erasure.NewPieceSet(t.geo.Pieces())
		pieces := list[i].peer.conn.PeerPieces().Iterator()
		for pieces.HasNext() {
			if p := int(pieces.Next()); p < t.geo.Pieces() {
				list[i].has.Add(p)
			}
		}
		list[i].fetches = list[i].fetches || list[i].has.Count() == 0
	}
	return list
}

// hashed tells the peers that sent something of piece how it hashed. t.mu is
// held.
func (t *Torrent) hashed(piece int, good bool) {
	for _, p := range t.peers {
		if p.allowed.sent[piece] > 0 {
			p.allowed.hashed(piece, good)
		}
	}
}

// What follows is called by the engine, with its lock held.

func (t *Torrent) peerCame(pc *torrent.PeerConn) {
	addr, err := netip.ParseAddrPort(pc.RemoteAddr.String())
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &peer{conn: pc, addr: canonical(addr), choked: true, asked: map[int]int{}, quiet: time.Now()}
	p.allowed = allowance{first: max(firstAsk, 2*t.geo.PieceRows()), sent: map[int]int{}}
	pc.PeerMaxRequests = p.allowed.rows(t.share, t.crowd)
	t.peers[pc] = p
	if a := t.addrs[p.addr]; a != nil {
		a.tries = 0
		a.retryAfter(time.Now())
	}
}

func (t *Torrent) peerLeft(pc *torrent.PeerConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.peers, pc)
}

// peerSays takes note of the port a peer listens on and of how many requests it
// queues, and returns how many it is to have.
func (t *Torrent) peerSays(pc *torrent.PeerConn, port, queues int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[pc]
	if p == nil {
		return 1
	}
	if port > 0 && port < 1<<16 {
		p.listens = uint16(port)
	}
	p.allowed.accepts = max(queues, 0)
	return p.allowed.rows(t.share, t.crowd)
}

func (t *Torrent) peerChoked(pc *torrent.PeerConn, choked bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.peers[pc]; p != nil {
		p.choked = choked
	}
}

func (t *Torrent) peerGrew(pc *torrent.PeerConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.peers[pc]; p != nil {
		p.grew = time.Now()
	}
}

func (t *Torrent) asked(from *torrent.Peer, piece, rows int) {
	pc, ok := from.TryAsPeerConn()
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[pc]
	if p == nil {
		return
	}
	if p.waiting == 0 {
		p.progress = time.Now()
		p.allowed.start(p.progress)
	}
	p.waiting += rows
	if p.asked[piece] += rows; p.asked[piece] <= 0 {
		delete(p.asked, piece)
	}
}

func (t *Torrent) received(from *torrent.Peer, piece int) {
	pc, ok := from.TryAsPeerConn()
	if !ok {
		return
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[pc]
	if p == nil {
		return // a connection of the same torrent before it was removed
	}
	p.progress = now
	p.allowed.row(piece, now, p.waiting == 0)
	pc.PeerMaxRequests = p.allowed.rows(t.share, t.crowd)
	t.begun.Add(piece)
	t.stuck.Remove(piece)
	if _, ok := t.moved[piece]; ok {
		t.moved[piece] = now
	}
}
