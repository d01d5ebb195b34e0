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
	g := p.geometry()
	rnd := rand.New(rand.NewPCG(seed, 1))
	var hold [4]erasure.PieceSet
	for i := range hold {
		hold[i] = erasure.NewPieceSet(g.Pieces())
	}
	rows := 0
	for _, piece := range rnd.Perm(g.Pieces()) {
		if rows >= g.K() {
			break
		}
		_, n := g.PieceSpan(piece)
		rows += n
		for range 1 + rnd.IntN(2) {
			hold[rnd.IntN(len(hold))].Add(piece)
		}
	}
	b := newBlock(t, p.bundle)
	torrent := add(t, open(t), b)
	var addrs []*swarm.Swarm
	for _, h := range hold {
		s := open(t)
		add(t, s, holding(t, p, h))
		addrs = append(addrs, s)
	}
	began := time.Now()
	for _, s := range addrs {
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
