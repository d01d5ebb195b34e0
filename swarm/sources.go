package swarm

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/anacrolix/torrent/metainfo"

	"granary/erasure"
	"granary/swarm/internal/local"
	"granary/swarm/internal/mainline"
	"granary/swarm/internal/tracker"
)

// ErrSource reports a source of peers that cannot be used.
var ErrSource = errors.New("source of peers refused")

// Sources are BitTorrent's own ways to find peers, beside AddPeers; the zero
// Sources uses none. Each of them tells others which blocks this address
// fetches and serves. What they name is as untrusted as any peer.
type Sources struct {
	Trackers []string // announce URLs: http, https, udp (BEP 3, 15)

	// Mainline are nodes of BitTorrent's public DHT (BEP 5) to begin with:
	// host:port, or Public for well-known ones. It is not used if there are none.
	Mainline []string

	Local bool // multicast on the networks that this machine is on (BEP 14)

	localGroup netip.AddrPort // tests: instead of local.Group
}

// Public stands for well-known nodes in Sources.Mainline.
const Public = "public"

// Any reports whether there are any.
func (s Sources) Any() bool { return len(s.Trackers) > 0 || len(s.Mainline) > 0 || s.Local }

// Check returns an error wrapping ErrSource if one of them cannot be used.
func (s Sources) Check() error {
	for _, u := range s.Trackers {
		if err := tracker.Check(u); err != nil {
			return fmt.Errorf("%w: %w", ErrSource, err)
		}
	}
	for _, node := range s.Mainline {
		if node == Public {
			continue
		}
		if err := mainline.Check(node); err != nil {
			return fmt.Errorf("%w: %w", ErrSource, err)
		}
	}
	return nil
}

// search is what a source is asked, and told, of one torrent.
type search struct {
	hash  metainfo.Hash
	wants bool  // addresses are wanted
	tells bool  // others may learn that we have it
	left  int64 // bytes we lack
	first bool  // this source was not asked of it before
}

// source is one place to look for peers.
type source interface {
	// find looks once and tells found, from one goroutine, of addresses as they
	// come. It returns after how long it is to be asked again.
	find(ctx context.Context, s search, found func([]netip.AddrPort)) (again time.Duration, err error)
	String() string
}

const (
	trackerPeers = 50 // asked of a tracker at a time

	// Nodes of the mainline DHT forget an announcement after half an hour or
	// more. What is fetched is looked for more often.
	mainlineEvery  = 20 * time.Minute
	mainlineWanted = 2 * time.Minute

	// BEP 14 says every 5 minutes. Who looks for what we serve is answered
	// sooner: he may have come only now.
	localEvery  = 5 * time.Minute
	localWanted = time.Minute
	localAnswer = 5 * time.Second
)

// trackerSource is one tracker.
type trackerSource struct {
	s   *Swarm
	c   tracker.Client
	url string
	key uint32
}

func (t *trackerSource) String() string { return "tracker " + t.url }

func (t *trackerSource) find(ctx context.Context, s search, found func([]netip.AddrPort)) (time.Duration, error) {
	r := tracker.Request{Hash: s.hash, PeerID: t.s.client.PeerID(), Port: uint16(t.s.Port()), Left: s.left, Key: t.key, Begin: s.first}
	if s.wants {
		r.Want = trackerPeers
	} else {
		r.Left = t.s.lacks(s.hash)
	}
	reply, err := t.c.Announce(ctx, t.url, r)
	if err == nil && s.wants {
		found(reply.Peers)
	}
	return reply.Interval, err
}

// mainlineSource is the mainline DHT.
type mainlineSource struct {
	s    *Swarm
	node *mainline.Node
}

func (m mainlineSource) String() string { return "mainline DHT" }

func (m mainlineSource) find(ctx context.Context, s search, found func([]netip.AddrPort)) (time.Duration, error) {
	port, again := uint16(0), mainlineEvery
	if s.tells {
		port = uint16(m.s.Port())
	}
	if s.wants {
		again = mainlineWanted
	}
	return again, m.node.Find(ctx, mainline.ID(s.hash), port, found)
}

// localSource is the networks that we are on.
type localSource struct {
	s    *Swarm
	node *local.Node
}

func (l localSource) String() string { return "local discovery" }

// find hands over what was heard of late; the answers of those who hear us now
// are their connections.
func (l localSource) find(ctx context.Context, s search, found func([]netip.AddrPort)) (time.Duration, error) {
	again := localEvery
	if s.wants {
		again = localWanted
		now := time.Now()
		found(slices.DeleteFunc(l.s.heard.of(s.hash, now), func(a netip.AddrPort) bool { return !l.s.gate.meet(a, now) }))
	}
	if !s.tells {
		return again, nil
	}
	return again, l.node.Tell(ctx, uint16(l.s.Port()), local.Hash(s.hash))
}

// openSources starts looking for peers in the places that cfg names.
func (s *Swarm) openSources() error {
	if err := s.cfg.Sources.Check(); err != nil {
		return err
	}
	var key [4]byte
	_, _ = rand.Read(key[:])
	for _, u := range s.cfg.Sources.Trackers {
		c := tracker.Client{HTTP: s.HTTP(), Dial: s.gate.dialUDP}
		s.seekIn(s.newSeeker(&trackerSource{s, c, u, binary.BigEndian.Uint32(key[:])}, 4))
	}
	if len(s.cfg.Sources.Mainline) > 0 {
		if err := s.openMainline(); err != nil {
			return fmt.Errorf("mainline DHT: %w", err)
		}
	}
	if s.cfg.Sources.Local {
		return s.openLocal()
	}
	return nil
}

func (s *Swarm) openMainline() error {
	conn, err := s.gate.listenUDP()
	if err != nil {
		return err
	}
	var begin []string
	for _, node := range s.cfg.Sources.Mainline {
		if node == Public {
			begin = append(begin, mainline.Public[:]...)
		} else {
			begin = append(begin, node)
		}
	}
	node := mainline.Open(mainline.Config{Conn: conn, Begin: begin, Allow: s.gate.allows, Answered: s.gate.paid})
	s.sources = append(s.sources, node.Close)
	s.seekIn(s.newSeeker(mainlineSource{s, node}, 2))
	return nil
}

func (s *Swarm) openLocal() error {
	group := s.cfg.Sources.localGroup
	if !group.IsValid() {
		group = local.Group
	}
	s.local = s.newSeeker(nil, 1) // before anything is heard
	node, err := local.Open(local.Config{Group: group, IP: s.cfg.IP, Heard: s.hear})
	if err != nil {
		return err
	}
	s.sources = append(s.sources, node.Close)
	s.local.source = localSource{s, node}
	s.seekIn(s.local)
	return nil
}

// hear is told that somebody on our network has a torrent.
func (s *Swarm) hear(h local.Hash, from netip.AddrPort) {
	now := time.Now()
	if !s.admits(from.Addr(), false) {
		return
	}
	hash := metainfo.Hash(h)
	again := s.heard.add(hash, from, now)
	if t, ok := s.byHash.Load(hash); ok && t.(*Torrent).fetching() && s.gate.meet(from, now) {
		t.(*Torrent).addFound([]netip.AddrPort{from})
	}
	if !again { // else two who serve it would answer each other for ever
		s.local.hurry(hash, now, localAnswer)
	}
}

// Find looks once for addresses where a block may be had, in all of
// Config.Sources, and tells found of them, from several goroutines: of a block
// that is not added yet, say, for Describe. Of us only those are told who must
// be: trackers. It returns when all have answered, or ctx ends.
func (s *Swarm) Find(ctx context.Context, id erasure.ID, found func([]netip.AddrPort)) error {
	done, ok := s.begin()
	if !ok {
		return ErrClosed
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	errs := make(chan error)
	for _, k := range s.seekers {
		go func() {
			_, err := k.source.find(ctx, search{hash: shortHash(id), wants: true, left: 1}, found)
			errs <- err
		}()
	}
	var all []error
	for range s.seekers {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}
