package swarm_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"granary/erasure"
	"granary/swarm"
)

// fetchAny fetches from the given swarms into an empty block and checks what
// can be decoded of it.
func fetchAny(t *testing.T, p published, from ...*swarm.Swarm) (*block, *swarm.Torrent) {
	t.Helper()
	b := newBlock(t, p.bundle)
	torrent := add(t, open(t), b)
	for _, s := range from {
		torrent.AddPeers(s.Addr())
	}
	start := time.Now()
	if err := torrent.FetchAny(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.recovered(t), p.content) {
		t.Fatal("content differs")
	}
	if time.Since(start) < time.Second { // on a machine busy with other things every peer looks slow
		checkOverhead(t, torrent, p.geometry().K())
	}
	return b, torrent
}

func checkOverhead(t *testing.T, torrent *swarm.Torrent, k int) {
	t.Helper()
	st := torrent.Status()
	if got := float64(st.Read) / float64(k*erasure.RowSize); got > 1.03 {
		t.Errorf("read %.3f times k rows, want 1.03 at most (%d bytes wasted)", got, st.Wasted)
	}
}

func TestFetchAnyFromAWholeSeeder(t *testing.T) {
	for _, k := range []int{1, 2, 33, 512, 777} {
		p := random(t, k)
		seeder := open(t)
		add(t, seeder, whole(t, p))
		_, torrent := fetchAny(t, p, seeder)
		st := torrent.Status()
		if got, want := st.Rows, k; got != want {
			t.Errorf("k = %d: %d rows held, want the content's %d", k, got, want)
		}
		if got, want := st.Read, int64(k)*erasure.RowSize; got != want {
			t.Errorf("k = %d: read %d bytes, want %d", k, got, want)
		}
	}
}

func TestFetchAnyOfAllZeroContent(t *testing.T) {
	for _, k := range []int{1, 5, 64} {
		p := publish(t, make([]byte, k*erasure.RowSize-1))
		if k != 5 && p.bundle.Info.Content != p.bundle.Info.Parity {
			t.Errorf("k = %d: roots differ; the test is about equal ones", k)
		}
		seeder := open(t)
		g := p.geometry()
		add(t, seeder, holding(t, p, pieces(g, func(i int) bool { return i%2 == 0 || i >= g.FilePieces() })))
		fetchAny(t, p, seeder)
	}
}

func TestFetchAnyFromPartialSeedersThatLackContent(t *testing.T) {
	for _, k := range []int{64, 777} {
		p := random(t, k)
		g := p.geometry()
		n := g.FilePieces()
		a, b := open(t), open(t)
		// A quarter of the content is nowhere; each has half of what there is.
		add(t, a, holding(t, p, pieces(g, func(i int) bool { return i%n < n*3/4 && i%2 == 0 })))
		add(t, b, holding(t, p, pieces(g, func(i int) bool { return i%n < n*3/4 && i%2 == 1 })))
		fetchAny(t, p, a, b)
	}
}

func TestFetchersServeEachOther(t *testing.T) {
	p := random(t, 256)
	g := p.geometry()
	thirds := func(mod int) *block {
		return holding(t, p, pieces(g, func(i int) bool { return i%3 == mod }))
	}
	blocks := []*block{thirds(0), thirds(1), thirds(2)} // 170 rows or so each
	var swarms []*swarm.Swarm
	var torrents []*swarm.Torrent
	for _, b := range blocks {
		s := open(t)
		swarms = append(swarms, s)
		torrents = append(torrents, add(t, s, b))
	}
	errs := make(chan error)
	for i, torrent := range torrents {
		torrent.AddPeers(swarms[(i+1)%3].Addr(), swarms[(i+2)%3].Addr())
		go func() { errs <- torrent.FetchAny(testContext(t), nil) }()
	}
	for range torrents {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range blocks {
		if !bytes.Equal(b.recovered(t), p.content) {
			t.Fatal("content differs")
		}
	}
}

func TestFetchTakesExactlyWhatIsWanted(t *testing.T) {
	p := random(t, 777)
	g := p.geometry()
	seeder := open(t)
	add(t, seeder, whole(t, p))
	b := newBlock(t, p.bundle)
	torrent := add(t, open(t), b)
	torrent.AddPeers(seeder.Addr())
	want := pieces(g, func(i int) bool { return i%50 == 7 || i == g.Pieces()-1 })
	if err := torrent.Fetch(testContext(t), want); err != nil {
		t.Fatal(err)
	}
	if !equal(b.heldSet(), want) {
		t.Errorf("holds %d pieces, want exactly the %d asked for", b.heldSet().Count(), want.Count())
	}
	if got, want := torrent.Status().Read, int64(g.RowsIn(want))*erasure.RowSize; got != want {
		t.Errorf("read %d bytes, want %d", got, want)
	}
	if err := torrent.Fetch(testContext(t), erasure.NewPieceSet(3)); !errors.Is(err, erasure.ErrPieceSet) {
		t.Errorf("pieces of another block: got %v, want ErrPieceSet", err)
	}
}

func TestSeederLeavesMidWay(t *testing.T) {
	p := random(t, 300)
	slow := func(c *swarm.Config) { c.UploadRate = 2 << 20 }
	first, second := open(t, slow), open(t)
	add(t, first, whole(t, p))
	add(t, second, whole(t, p))
	b := newBlock(t, p.bundle)
	torrent := add(t, open(t), b)
	torrent.AddPeers(first.Addr())
	left := false
	err := torrent.FetchAny(testContext(t), func(st swarm.Status) {
		if !left && st.Rows > 30 {
			left = true
			if err := first.Close(); err != nil {
				t.Error(err)
			}
			torrent.AddPeers(second.Addr())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !left {
		t.Fatal("the first seeder was never missed")
	}
	if !bytes.Equal(b.recovered(t), p.content) {
		t.Fatal("content differs")
	}
}

func TestASlowPeerDoesNotHoldUpTheEnd(t *testing.T) {
	p := random(t, 400)
	g := p.geometry()
	// All content is at a peer that would take minutes; parity is quick.
	slow, quick := open(t, func(c *swarm.Config) { c.UploadRate = 64 << 10 }), open(t)
	add(t, slow, holding(t, p, pieces(g, func(i int) bool { return i < g.FilePieces() })))
	add(t, quick, holding(t, p, pieces(g, func(i int) bool { return i >= g.FilePieces() })))
	_, torrent := fetchAny(t, p, slow, quick)
	if st := torrent.Status(); st.Read > 11*400*erasure.RowSize/10 {
		t.Errorf("read %d bytes, want at most 1.1 times k rows", st.Read)
	}
}

func TestFetchEnds(t *testing.T) {
	p := random(t, 20)
	s := open(t)
	torrent := add(t, s, newBlock(t, p.bundle))
	fetch := func(ctx context.Context) <-chan error {
		done := make(chan error, 1)
		go func() { done <- torrent.FetchAny(ctx, nil) }()
		return done
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	done := fetch(ctx)
	reason := errors.New("enough")
	cancel(reason)
	if err := <-done; !errors.Is(err, reason) {
		t.Errorf("context ended: got %v, want its cause", err)
	}
	done = fetch(t.Context())
	s.Remove(p.id())
	if err := <-done; !errors.Is(err, swarm.ErrClosed) {
		t.Errorf("torrent removed: got %v, want ErrClosed", err)
	}
	torrent = add(t, s, newBlock(t, p.bundle))
	done = fetch(t.Context())
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, swarm.ErrClosed) {
		t.Errorf("swarm closed: got %v, want ErrClosed", err)
	}
	if err := torrent.FetchAny(t.Context(), nil); !errors.Is(err, swarm.ErrClosed) {
		t.Errorf("after Close: got %v, want ErrClosed", err)
	}
}

func TestAStalledPeerDoesNotBlock(t *testing.T) {
	p := random(t, 60)
	stuck := whole(t, p)
	gate := make(chan struct{})
	staller, honest := open(t), open(t)
	t.Cleanup(func() { close(gate) }) // before the swarms are closed
	add(t, staller, stalling{stuck, gate})
	add(t, honest, whole(t, p))
	b := newBlock(t, p.bundle)
	torrent := add(t, open(t), b)
	torrent.AddPeers(staller.Addr())
	added := false
	err := torrent.FetchAny(testContext(t), func(st swarm.Status) {
		if !added && st.Peers > 0 {
			added = true
			torrent.AddPeers(honest.Addr())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.recovered(t), p.content) {
		t.Fatal("content differs")
	}
}

func TestFetchGoesRoundAStalledPeer(t *testing.T) {
	p := random(t, 60)
	gate := make(chan struct{})
	staller, honest := open(t), open(t)
	t.Cleanup(func() { close(gate) }) // before the swarms are closed
	add(t, staller, stalling{whole(t, p), gate})
	add(t, honest, whole(t, p))
	b := newBlock(t, p.bundle)
	torrent := add(t, open(t), b)
	torrent.AddPeers(staller.Addr(), honest.Addr())
	start := time.Now()
	want := pieces(p.geometry(), func(i int) bool { return i%3 == 0 })
	if err := torrent.Fetch(testContext(t), want); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 8*time.Second { // the stalled peer is dropped after 10 s
		t.Errorf("took %v", took)
	}
}

// stalling is a block that claims its pieces and never comes to read them.
type stalling struct {
	*block
	gate chan struct{}
}

func (s stalling) ReadPieceAt(piece int, p []byte, off int64) (int, error) {
	<-s.gate
	return s.block.ReadPieceAt(piece, p, off)
}

func TestManyBlocksAtOnce(t *testing.T) {
	const n = 60
	seeder, leecher := open(t), open(t)
	errs := make(chan error, n)
	for i := range n {
		p := publish(t, randomBytes(20*erasure.RowSize+i))
		add(t, seeder, whole(t, p))
		b := newBlock(t, p.bundle)
		torrent := add(t, leecher, b)
		torrent.AddPeers(seeder.Addr())
		go func() {
			err := torrent.FetchAny(testContext(t), nil)
			if err == nil && !bytes.Equal(b.recovered(t), p.content) {
				err = errors.New("content differs")
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
