package swarm_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"granary/erasure"
	"granary/swarm"
)

// TestHalfOfThePiecesGone fetches blocks of which a random half of the pieces
// is all there is, each at one or two of four peers.
func TestHalfOfThePiecesGone(t *testing.T) {
	runs := 1
	if measured() {
		runs = 20
	}
	sizes := []int{64, 777}
	if measured() {
		sizes = []int{33, 64, 200, 777, 2000}
	}
	for _, k := range sizes {
		var worst, sum float64
		var took time.Duration
		for run := range runs {
			read, d := fetchHalf(t, k, uint64(1000*k+run))
			worst, sum, took = max(worst, read), sum+read, took+d
		}
		if took < time.Second && worst > 1.03 { // on a machine busy with other things every peer looks slow
			t.Errorf("k = %d: read %.4f times k rows at worst, want 1.03 at most", k, worst)
		}
		t.Logf("k = %d: read %.4f times k rows, %.4f at worst; %v each", k, sum/float64(runs), worst, took/time.Duration(runs))
		if measured() && worst > 1.03 {
			t.Errorf("k = %d: read %.4f times k rows at worst, want 1.03 at most", k, worst)
		}
	}
}

func fetchHalf(t *testing.T, k int, seed uint64) (read float64, took time.Duration) {
	p := random(t, k)
	b := newBlock(t, p.bundle)
	torrent := add(t, open(t), b)
	swarms := seedParts(t, p, 1, seed)
	began := time.Now()
	for _, s := range swarms {
		torrent.AddPeers(s.Addr())
	}
	if err := torrent.FetchAny(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	took = time.Since(began)
	if !bytes.Equal(b.recovered(t), p.content) {
		t.Error("content differs")
	}
	st := torrent.Status()
	return float64(st.Read) / float64(k*erasure.RowSize), took
}

// seedParts has four seed a random part of the pieces, with halves × k rows or a
// little more, each at one or two of the four.
func seedParts(t *testing.T, p published, halves int, seed uint64, change ...func(*swarm.Config)) (swarms []*swarm.Swarm) {
	t.Helper()
	g := p.geometry()
	rnd := rand.New(rand.NewPCG(seed, 1))
	var hold [4]erasure.PieceSet
	for i := range hold {
		hold[i] = erasure.NewPieceSet(g.Pieces())
	}
	rows := 0
	for _, piece := range rnd.Perm(g.Pieces()) {
		if rows >= halves*g.K() {
			break
		}
		_, n := g.PieceSpan(piece)
		rows += n
		for range 1 + rnd.IntN(2) {
			hold[rnd.IntN(len(hold))].Add(piece)
		}
	}
	for _, h := range hold {
		s := open(t, change...)
		add(t, s, holding(t, p, h))
		swarms = append(swarms, s)
	}
	return swarms
}

// TestTimeWithHalfOfThePiecesGone fetches a block from four that hold a part of it
// each, onto disk and until it is whole again, parity and all: in turns with
// all pieces there, and with a random half of them gone, over the same
// uplinks. It prints medians and their ratio.
//
//	GRANARY_SWARM_MEASURE=1 go test -run TimeWithHalf -v ./swarm
func TestTimeWithHalfOfThePiecesGone(t *testing.T) {
	if !measured() {
		t.Skip("takes a minute, and a quiet machine: GRANARY_SWARM_MEASURE=1")
	}
	const turns = 5
	for _, c := range []struct {
		k      int
		uplink int64 // of each, bytes per second; 0: as fast as it goes
	}{{2048, 4 << 20}, {8192, 0}} {
		var took [3][]time.Duration // by halves there
		p := random(t, c.k)
		for turn := range turns {
			for halves := 1; halves <= 2; halves++ {
				took[halves] = append(took[halves], timeParts(t, p, halves, uint64(turn), c.uplink))
			}
		}
		half, whole := median(took[1]), median(took[2])
		t.Logf("%3d MiB, uplinks of %d × %d MiB/s: whole swarm %v, half of the pieces gone %v: %.2f times",
			c.k/64, 4, c.uplink>>20, whole.Round(time.Millisecond), half.Round(time.Millisecond), half.Seconds()/whole.Seconds())
		if half > whole*3/2 {
			t.Errorf("%.2f times the whole swarm's time, want 1.5 at most", half.Seconds()/whole.Seconds())
		}
	}
}

func timeParts(t *testing.T, p published, halves int, seed uint64, uplink int64) time.Duration {
	t.Helper()
	swarms := seedParts(t, p, halves, seed, func(c *swarm.Config) { c.UploadRate = uplink })
	store := openStoreIn(t)
	b, err := store.Put(testContext(t), p.bundle)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t)
	torrent := add(t, s, b)
	began := time.Now()
	for _, s := range swarms {
		torrent.AddPeers(s.Addr())
	}
	if err := torrent.FetchAny(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	fetched := time.Since(began)
	if err := b.Complete(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("%d halves there: fetched in %v, whole after %v, %d rows read", halves, fetched, took, torrent.Status().Read/erasure.RowSize)
	for _, s := range append(swarms, s) {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := store.Delete(testContext(t), p.id()); err != nil {
		t.Error(err)
	}
	return took
}
