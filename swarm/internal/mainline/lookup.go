package mainline

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
)

// lookup is one search for the nodes closest to a torrent.
type lookup struct {
	n      *Node
	target ID
	found  func([]netip.AddrPort)

	seen   map[netip.AddrPort]bool
	list   []hop // by distance, those without an ID last
	asked  int
	failed error // why the last that did not answer did not
}

// hop is a node on the way.
type hop struct {
	contact
	state hopState
	token string // what it wants to be shown with an announcement
}

type hopState int

const (
	fresh hopState = iota
	asking
	there // answered
	silent
)

// Find looks for peers of the torrent, and tells found of addresses as they
// come, from one goroutine; they may repeat. If port is not 0 it then announces
// that we have the torrent, at that port of the address that the nodes see. It
// returns ErrNoNodes, or the cause of ctx's end.
func (n *Node) Find(ctx context.Context, torrent ID, port uint16, found func([]netip.AddrPort)) error {
	begin, err := n.start(ctx)
	if err != nil {
		return err
	}
	l := &lookup{n: n, target: torrent, found: found, seen: map[netip.AddrPort]bool{}}
	for _, c := range begin {
		l.add(c)
	}
	if err := l.run(ctx); err != nil {
		return err
	}
	if port != 0 {
		l.announce(ctx, port)
	}
	return context.Cause(ctx)
}

func (l *lookup) add(c contact) {
	if c.addr.Port() == 0 || l.seen[c.addr] || c.id == l.n.id {
		return
	}
	l.seen[c.addr] = true
	h := hop{contact: c}
	i, _ := slices.BinarySearchFunc(l.list, h, l.closer)
	l.list = slices.Insert(l.list, i, h)
}

// closer orders by distance. Nodes whose ID is not known are the farthest.
func (l *lookup) closer(a, b hop) int {
	switch {
	case a.id == ID{} && b.id != ID{}:
		return 1
	case a.id != ID{} && b.id == ID{}:
		return -1
	}
	da, db := distance(l.target, a.id), distance(l.target, b.id)
	return bytes.Compare(da[:], db[:])
}

func distance(a, b ID) (d ID) {
	for i := range d {
		d[i] = a[i] ^ b[i]
	}
	return d
}

// run asks ever closer nodes until the closest have all answered, or too many
// were asked.
func (l *lookup) run(ctx context.Context) error {
	type result struct {
		hop
		reply
		err error
	}
	results := make(chan result)
	running, answered := 0, 0
	for {
		for running < atOnce && ctx.Err() == nil {
			h, ok := l.next()
			if !ok {
				break
			}
			running++
			go func() {
				r, err := l.n.ask(ctx, h.addr, query{name: "get_peers", torrent: l.target})
				results <- result{h, r, err}
			}()
		}
		if running == 0 {
			break
		}
		r := <-results
		running--
		if r.err != nil {
			l.failed = r.err
			l.settle(r.addr, hop{contact: r.contact, state: silent})
			if ctx.Err() == nil && !errors.Is(r.err, errUnsent) {
				l.n.silent(r.addr)
			}
			continue
		}
		answered++
		c := contact{r.reply.id, r.addr}
		l.n.answered(c)
		l.settle(r.addr, hop{contact: c, state: there, token: r.reply.token})
		for _, c := range r.nodes {
			if l.n.cfg.Allow(c.addr) {
				l.add(c)
			}
		}
		if len(r.peers) > 0 {
			l.found(r.peers)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if answered == 0 {
		return ErrNoNodes
	}
	return nil
}

// next is the closest node that was not asked, of the closest ones that may
// still answer.
func (l *lookup) next() (hop, bool) {
	if l.asked == maxAsked {
		return hop{}, false
	}
	live := 0
	for i, h := range l.list {
		switch h.state {
		case fresh:
			l.list[i].state = asking
			l.asked++
			return h, true
		case silent:
			continue
		}
		if live++; live == closest {
			return hop{}, false
		}
	}
	return hop{}, false
}

// settle puts a node that was asked to where its true ID belongs.
func (l *lookup) settle(addr netip.AddrPort, h hop) {
	l.list = slices.DeleteFunc(l.list, func(o hop) bool { return o.addr == addr })
	i, _ := slices.BinarySearchFunc(l.list, h, l.closer)
	l.list = slices.Insert(l.list, i, h)
}

// announce tells the closest nodes that answered. One that refuses is not
// missed: there are others.
func (l *lookup) announce(ctx context.Context, port uint16) {
	var wg sync.WaitGroup
	told := 0
	for _, h := range l.list {
		if h.state != there || h.token == "" {
			continue
		}
		wg.Go(func() {
			_, _ = l.n.ask(ctx, h.addr, query{name: "announce_peer", torrent: l.target, port: port, token: h.token})
		})
		if told++; told == closest {
			break
		}
	}
	wg.Wait()
}
