package swarm_test

import (
	"bytes"
	"context"
	"testing"
)

func TestASwarmThatDoesNotServeSendsNothing(t *testing.T) {
	p := random(t, 60)
	seeder := open(t)
	torrent := add(t, seeder, whole(t, p))
	w := newWire(t, seeder.Addr())
	seeder.Serve(false)

	b := newBlock(t, p.bundle)
	l := add(t, open(t), b)
	l.AddPeers(w.addr)
	done := make(chan error, 1)
	go func() { done <- l.FetchAny(testContext(t), nil) }()
	waitFor(t, "a caller to be turned away", func() bool { return w.forward.Load() > 0 })
	if n := w.back.Load(); n > 0 {
		t.Errorf("%d bytes were sent", n)
	}
	if n := torrent.Status().Peers; n > 0 {
		t.Errorf("%d peers, want none", n)
	}
	seeder.Serve(true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.recovered(t), p.content) {
		t.Error("content differs")
	}
	seeder.Serve(false)
	waitFor(t, "the connection to be closed", func() bool { return torrent.Status().Peers == 0 })
}

func TestASwarmThatDoesNotServeFetchesAndSendsNothing(t *testing.T) {
	p := random(t, 200)
	g := p.geometry()
	quiet := open(t)
	quiet.Serve(false)
	fetcher := holding(t, p, pieces(g, func(i int) bool { return i < 50 }))
	torrent := add(t, quiet, fetcher)
	// What the others want, the quiet one has.
	other := open(t)
	wants := add(t, other, holding(t, p, pieces(g, func(i int) bool { return i >= 50 && i < 200 })))
	ctx, cancel := context.WithCancel(testContext(t))
	stopped := make(chan error, 1)
	go func() { stopped <- wants.Fetch(ctx, pieces(g, func(i int) bool { return i < 50 })) }()

	torrent.AddPeers(other.Addr())
	if err := torrent.FetchAny(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the connection to end with the fetch", func() bool { return torrent.Status().Peers == 0 })
	cancel()
	<-stopped
	if n := torrent.Status().Written; n > 0 {
		t.Errorf("%d bytes of rows were sent", n)
	}
}

func TestServeAnywayExceptsOneTorrent(t *testing.T) {
	published, kept := random(t, 20), random(t, 21)
	seeder := open(t)
	mine := add(t, seeder, whole(t, published))
	add(t, seeder, whole(t, kept))
	seeder.Serve(false)
	done := mine.ServeAnyway()

	leecher := open(t)
	l := add(t, leecher, newBlock(t, kept.bundle))
	fetching(t, l)
	l.AddPeers(seeder.Addr())
	m := add(t, leecher, newBlock(t, published.bundle))
	m.AddPeers(seeder.Addr())
	if err := m.FetchAny(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	if n := l.Status().Read; n > 0 {
		t.Errorf("%d bytes came of the block that is not served", n)
	}
	done()
	done() // twice is once
	waitFor(t, "nobody to be served any more", func() bool { return mine.Status().Peers == 0 })
}
