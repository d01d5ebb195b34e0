package swarm_test

import (
	"bytes"
	"errors"
	"testing"

	"granary/erasure"
	"granary/swarm"
)

func TestNothingIsReadOrHashedWhenAdded(t *testing.T) {
	p := random(t, 777)
	b := whole(t, p)
	seeder := open(t)
	torrent := add(t, seeder, b)
	leecher := open(t)
	l := add(t, leecher, newBlock(t, p.bundle))
	l.AddPeers(seeder.Addr())
	want := erasure.NewPieceSet(p.geometry().Pieces())
	want.Add(5)
	if err := l.Fetch(testContext(t), want); err != nil {
		t.Fatal(err)
	}
	if got := b.reads.Load(); got > 2 {
		t.Errorf("%d reads to serve one piece of two rows", got)
	}
	if st := torrent.Status(); st.Rows != 2*777 || st.Need != 777 {
		t.Errorf("status says %d rows of %d, want 1554 of 777", st.Rows, st.Need)
	}
	again, err := seeder.Add(b)
	if err != nil || again != torrent {
		t.Errorf("added twice: got another torrent, or %v", err)
	}
}

func TestFetchResumesWithWhatIsHeld(t *testing.T) {
	p := random(t, 100)
	seeder := open(t)
	add(t, seeder, whole(t, p))
	b := holding(t, p, pieces(p.geometry(), func(i int) bool { return i%2 == 0 && i < 120 })) // 60 rows
	torrent := add(t, open(t), b)
	torrent.AddPeers(seeder.Addr())
	if err := torrent.FetchAny(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	if got, want := torrent.Status().Read, int64(40*erasure.RowSize); got != want {
		t.Errorf("read %d bytes, want %d", got, want)
	}
}

func TestFetchWithoutTheProofVector(t *testing.T) {
	p := random(t, 40)
	seeder := open(t)
	add(t, seeder, whole(t, p))
	p.bundle.Proof = nil
	fetchAny(t, p, seeder)
}

func TestARefusedPieceIsSetAside(t *testing.T) {
	p := random(t, 50)
	seeder := open(t)
	add(t, seeder, whole(t, p))
	b := newBlock(t, p.bundle)
	b.refuse = func(piece int) bool { return piece == 3 || piece == 17 }
	torrent := add(t, open(t), b)
	torrent.AddPeers(seeder.Addr())
	if err := torrent.FetchAny(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	if b.Has(3) || b.Has(17) {
		t.Error("a refused piece is held")
	}
	if !bytes.Equal(b.recovered(t), p.content) {
		t.Error("content differs")
	}
	if got, want := torrent.Status().Read, int64(52*erasure.RowSize); got != want {
		t.Errorf("read %d bytes, want %d: each piece once", got, want)
	}
	want := erasure.NewPieceSet(p.geometry().Pieces())
	want.Add(3)
	if err := torrent.Fetch(testContext(t), want); !errors.Is(err, swarm.ErrRefused) {
		t.Errorf("fetching it by name: got %v, want ErrRefused", err)
	}
	waitFor(t, "the refused pieces are not claimed", func() bool {
		return equal(torrent.Claimed(), b.heldSet())
	})
}

func TestABlockOfRefusedPiecesEnds(t *testing.T) {
	p := random(t, 30)
	seeder := open(t)
	add(t, seeder, whole(t, p))
	b := newBlock(t, p.bundle)
	b.refuse = func(piece int) bool { return piece%30 < 20 }
	torrent := add(t, open(t), b)
	torrent.AddPeers(seeder.Addr())
	err := torrent.FetchAny(testContext(t), nil)
	var row *erasure.RowError
	if !errors.Is(err, swarm.ErrRefused) || !errors.As(err, &row) {
		t.Errorf("got %v, want ErrRefused and why", err)
	}
}

func TestAStoreThatFailsEndsTheFetch(t *testing.T) {
	p := random(t, 30)
	seeder := open(t)
	add(t, seeder, whole(t, p))
	full := errors.New("disk is full")
	for name, fail := range map[string]func(*block, error){
		"write": func(b *block, err error) { b.writeErr = err },
		"sync":  func(b *block, err error) { b.syncErr = err },
	} {
		b := newBlock(t, p.bundle)
		fail(b, full)
		torrent := add(t, open(t), b)
		torrent.AddPeers(seeder.Addr())
		if err := torrent.FetchAny(testContext(t), nil); !errors.Is(err, full) {
			t.Fatalf("%s: got %v, want the store's error", name, err)
		}
		b.mu.Lock()
		fail(b, nil)
		b.mu.Unlock()
		// What was on its way may still fail one more fetch.
		waitFor(t, "a fetch after space was made", func() bool { return torrent.FetchAny(testContext(t), nil) == nil })
		if !bytes.Equal(b.recovered(t), p.content) {
			t.Errorf("%s: content differs", name)
		}
	}
}

func TestRefreshAnnouncesAndWithdraws(t *testing.T) {
	p := random(t, 20)
	g := p.geometry()
	b := newBlock(t, p.bundle)
	seeder, leecher := open(t), open(t)
	s := add(t, seeder, b)
	l := add(t, leecher, newBlock(t, p.bundle))
	l.AddPeers(seeder.Addr())
	one := erasure.NewPieceSet(g.Pieces())
	one.Add(4)
	done := make(chan error, 1)
	go func() { done <- l.Fetch(testContext(t), one) }() // so that it dials

	held := holding(t, p, pieces(g, func(i int) bool { return i == 9 || i == 10 }))
	b.mu.Lock()
	b.files, b.held = held.files, held.held
	b.mu.Unlock()
	s.Refresh()
	waitFor(t, "the leecher sees piece 9", func() bool { return l.Status().Available.Has(9) })
	b.drop(9)
	s.Refresh()
	waitFor(t, "the leecher sees it go", func() bool { a := l.Status().Available; return a.Has(10) && !a.Has(9) })

	all := whole(t, p)
	b.mu.Lock()
	b.files, b.held = all.files, all.held
	b.mu.Unlock()
	s.Refresh()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestDroppedPiecesAreNotFetchedAgain(t *testing.T) {
	p := random(t, 20)
	seeder := open(t)
	add(t, seeder, whole(t, p))
	b, torrent := fetchAny(t, p, seeder)
	read := torrent.Status().Read
	b.drop(2)
	torrent.Refresh()
	torrent.AddPeers(seeder.Addr())
	want := erasure.NewPieceSet(p.geometry().Pieces())
	want.Add(25)
	if err := torrent.Fetch(testContext(t), want); err != nil {
		t.Fatal(err)
	}
	if b.Has(2) || torrent.Status().Read != read+erasure.RowSize {
		t.Error("a dropped piece came back unasked")
	}
}
