package node_test

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"granary/blobstore"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
	"granary/swarm"
)

func openSwarm(t *testing.T, last byte) (*swarm.Swarm, netip.AddrPort) {
	t.Helper()
	ip := netip.AddrFrom4([4]byte{127, 46, 7, last})
	s, err := swarm.Open(swarm.Config{IP: ip, AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, netip.AddrPortFrom(ip, uint16(s.Port()))
}

// parityOf is all parity pieces.
func parityOf(g erasure.Geometry) erasure.PieceSet {
	s := erasure.NewPieceSet(g.Pieces())
	for p := g.FilePieces(); p < g.Pieces(); p++ {
		s.Add(p)
	}
	return s
}

// working computes parity until the test ends.
func working(t *testing.T, stay time.Duration) node.OnDemand {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	d := node.NewOnDemand(ctx, stay)
	var work sync.WaitGroup
	work.Go(d.Work)
	t.Cleanup(func() { cancel(); work.Wait() })
	return d
}

func TestParityIsComputedForWhoAsks(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, lean, empty := publishedBlock(t, 600) // pieces of two rows
	g := lean.Geometry()
	owed := erasure.NewPieceSet(g.Pieces())
	owed.Add(g.FilePieces() + 7)
	d := working(t, 0)
	full := lean.Bytes()
	if err := d.Drop(ctx, lean, owed); err != nil {
		t.Fatal(err)
	}
	if n := lean.Held().Count(); n != g.FilePieces()+1 {
		t.Fatalf("%d pieces held, want the content and what is owed", n)
	}
	if saved := full - lean.Bytes(); saved < g.PaddedLength()*9/10 {
		t.Errorf("%d bytes saved of %d", saved, full)
	}
	if r, err := lean.Scrub(ctx, blobstore.ScrubConfig{}); err != nil || r.Bad.Count() > 0 {
		t.Errorf("a scrub takes dropped parity for damage: %+v, %v", r, err)
	}

	seeder, addr := openSwarm(t, 1)
	seeder.Offer(lean.ID(), d.Face(lean))
	leecher, _ := openSwarm(t, 2)
	torrent, err := leecher.Add(empty)
	if err != nil {
		t.Fatal(err)
	}
	torrent.AddPeers(addr)
	if err := torrent.Fetch(ctx, parityOf(g)); err != nil { // as one who finds the content nowhere
		t.Fatal(err)
	}
	if err := empty.Complete(ctx, nil); err != nil {
		t.Errorf("what came is not the block's parity: %v", err)
	}
	if n := d.Computed(); n != 1 {
		t.Errorf("computed %d times, want once for all pieces", n)
	}
	if err := d.Drop(ctx, lean, owed); err != nil || lean.Whole() {
		t.Errorf("it stays after it was asked for: %v", err)
	}
}

func TestOnlyWhatCanBeComputedIsClaimed(t *testing.T) {
	ctx := t.Context()
	content, err := bytes.Repeat([]byte("x"), 40*erasure.RowSize), error(nil)
	dir := t.TempDir()
	store, err := blobstore.Open(ctx, dir, blobstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := store.Import(ctx, "block", bytes.NewReader(content), nil)
	if err != nil {
		t.Fatal(err)
	}
	g := b.Geometry()
	d := working(t, 0)
	if err := d.Drop(ctx, b, erasure.NewPieceSet(g.Pieces())); err != nil {
		t.Fatal(err)
	}
	last := g.Pieces() - 1
	if f := d.Face(b); !f.Has(0) || !f.Has(last) || b.Has(last) {
		t.Error("parity that can be computed is not claimed, or it is held")
	}
	usage, err := store.Usage()
	if err != nil {
		t.Fatal(err)
	}
	id := b.ID()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	// No room to compute it in: claimed until that is found out.
	store, err = blobstore.Open(ctx, dir, blobstore.Config{Quota: usage.Bytes + 300<<10})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if b, err = store.Block(id); err != nil {
		t.Fatal(err)
	}
	f := d.Face(b)
	if _, err := f.ReadPieceAt(last, make([]byte, 1), 0); !errors.Is(err, blobstore.ErrQuota) {
		t.Errorf("got %v, want ErrQuota", err)
	}
	if f.Has(last) || !f.Has(0) {
		t.Error("what cannot be computed is claimed, or the content is not")
	}
	// Without some of the content there is nothing to compute from.
	drop := erasure.NewPieceSet(g.Pieces())
	drop.Add(0)
	if err := b.DropPieces(ctx, drop); err != nil {
		t.Fatal(err)
	}
	if f := node.NewOnDemand(ctx, 0).Face(b); f.Has(last) || f.Has(0) || !f.Has(1) {
		t.Error("claims do not follow what is held")
	}
}

// leanBlock is a pinned block, the parity of which is not kept, in a store with
// room for it and little more.
func leanBlock(t *testing.T, d node.OnDemand) (*blobstore.Store, *blobstore.Block) {
	t.Helper()
	store, err := blobstore.Open(t.Context(), t.TempDir(), blobstore.Config{Quota: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	b, err := store.Import(t.Context(), "block", bytes.NewReader(make([]byte, 64*erasure.RowSize)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := node.NewShelf(store, 0).Pin(t.Context(), b.ID()); err != nil {
		t.Fatal(err)
	}
	if err := d.Drop(t.Context(), b, erasure.NewPieceSet(b.Geometry().Pieces())); err != nil || b.Whole() {
		t.Fatalf("parity that nobody asked for stays: %v", err)
	}
	return store, b
}

func readLast(t *testing.T, d node.OnDemand, b *blobstore.Block) {
	t.Helper()
	if _, err := d.Face(b).ReadPieceAt(b.Geometry().Pieces()-1, make([]byte, 1), 0); err != nil || !b.Whole() {
		t.Fatalf("parity is not computed: %v", err)
	}
}

func TestReadersDoNotKeepParity(t *testing.T) {
	d := working(t, time.Hour)
	_, b := leanBlock(t, d)
	none := erasure.NewPieceSet(b.Geometry().Pieces())
	for range 2 {
		readLast(t, d, b)
		if err := d.Drop(t.Context(), b, none); err != nil || !b.Whole() {
			t.Fatalf("it does not stay: %v", err)
		}
		d.Age(2 * time.Hour)
		readLast(t, d, b)
		if err := d.Drop(t.Context(), b, none); err != nil || b.Whole() {
			t.Fatalf("it stays because it is read: %v", err)
		}
	}
}

func TestComputedParityMakesRoom(t *testing.T) {
	d := working(t, time.Hour)
	store, b := leanBlock(t, d)
	room, err := store.Free()
	if err != nil {
		t.Fatal(err)
	}
	readLast(t, d, b)
	if free, err := store.Free(); err != nil || free >= room {
		t.Fatalf("%d bytes free, %v: parity takes no room", free, err)
	}
	if err := d.MakeRoom(t.Context(), store, room); err != nil || b.Whole() {
		t.Errorf("parity is in the way: %v", err)
	}
	if err := d.MakeRoom(t.Context(), store, room+1); !errors.Is(err, blobstore.ErrQuota) || !b.HasContent() {
		t.Errorf("got %v, want ErrQuota and the content kept", err)
	}
}

// leanBlocks makes n blocks, the parity of which is not kept.
func leanBlocks(t *testing.T, d node.OnDemand, store *blobstore.Store, n int) (all []*blobstore.Block) {
	t.Helper()
	for i := range n {
		b, err := store.Import(t.Context(), "block", bytes.NewReader([]byte{byte(i)}), nil)
		if err == nil {
			err = d.Drop(t.Context(), b, erasure.NewPieceSet(b.Geometry().Pieces()))
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// TestOrdersOfParityTakeTurns: who asks for rows of every block holds up nobody
// who reads, nor computes anything twice.
func TestOrdersOfParityTakeTurns(t *testing.T) {
	d := node.NewOnDemand(t.Context(), time.Hour) // and nobody works but we
	blocks := leanBlocks(t, d, openStore(t), 40)
	for range 3 {
		for _, b := range blocks {
			d.Order(b)
		}
	}
	last := blocks[len(blocks)-1]
	d.OrderRead(last)
	turns := 0
	for !last.Whole() && d.Turn() {
		turns++
	}
	if turns > 3 {
		t.Errorf("the reader waited for %d turns", turns)
	}
	for d.Turn() {
	}
	for i, b := range blocks {
		if !b.Whole() {
			t.Errorf("block %d was ordered and is not computed", i)
		}
	}
	if n := d.Computed(); n != int64(len(blocks)) {
		t.Errorf("%d computed, want %d", n, len(blocks))
	}
}

// TestComputedParityIsBounded, without a quota too: what was computed longest
// ago goes.
func TestComputedParityIsBounded(t *testing.T) {
	d := node.NewOnDemand(t.Context(), time.Hour)
	store := openStore(t)
	blocks := leanBlocks(t, d, store, 5) // of one parity row each
	d.Bound(store, 2*erasure.RowSize)
	for i, b := range blocks {
		d.Order(b)
		d.Turn()
		for j, b := range blocks {
			if want := j == i || j == i-1; b.Whole() != want {
				t.Errorf("after block %d, block %d: whole %t, want %t", i, j, b.Whole(), want)
			}
		}
		d.Age(time.Minute)
	}
}

func TestWhoWaitsForParityIsSentAway(t *testing.T) {
	d := node.NewOnDemand(t.Context(), time.Hour) // and nobody works
	_, b := leanBlock(t, d)
	d.Order(b)
	got := make(chan error)
	go func() {
		_, err := d.Face(b).ReadPieceAt(b.Geometry().Pieces()-1, make([]byte, 1), 0)
		got <- err
	}()
	d.SendAway(b.ID())
	if err := <-got; err == nil {
		t.Error("parity is read that nobody computed")
	}
}
