package gather_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/blobstore"
	"granary/cmd/granary/internal/gather"
	"granary/erasure"
	"granary/sampling/kad"
	"granary/swarm"
)

func openStore(t *testing.T) *blobstore.Store {
	t.Helper()
	s, err := blobstore.Open(t.Context(), t.TempDir(), blobstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// publishedBlock is a whole block, and an empty one of the same bundle in
// another store.
func publishedBlock(t *testing.T, rows int) (content []byte, whole, empty *blobstore.Block) {
	t.Helper()
	content = make([]byte, rows*erasure.RowSize-3)
	_, _ = rand.NewChaCha8([32]byte{byte(rows)}).Read(content)
	whole, err := openStore(t).Import(t.Context(), "block", bytes.NewReader(content), nil)
	if err != nil {
		t.Fatal(err)
	}
	empty, err = openStore(t).Put(t.Context(), whole.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	return content, whole, empty
}

// gatherRows gathers from holders without waiting for BitTorrent.
func gatherRows(ctx context.Context, b *blobstore.Block, holders map[peer.ID]kad.Hello, st swarm.Status,
	row func(context.Context, peer.ID, int) ([]byte, []erasure.Root, error),
) error {
	r := gather.NewRows(b, row)
	r.AtOnce()
	for p, hello := range holders {
		r.Heard(p, hello)
	}
	return r.Run(ctx, func() swarm.Status { return st })
}

// TestScatteredRowsAreGathered asks holders of which each has some rows of
// every piece, one lies, one is always busy and one is gone: no piece can be
// had from any of them, k rows can.
func TestScatteredRowsAreGathered(t *testing.T) {
	content, whole, empty := publishedBlock(t, 600) // pieces of two rows
	all := erasure.AllPieces(whole.Geometry().Pieces()).Bytes()
	holders := map[peer.ID]kad.Hello{}
	for _, p := range []peer.ID{"0", "3", "liar", "busy", "gone"} {
		holders[p] = kad.Hello{Held: all, Known: true}
	}
	var lies atomic.Int32
	row := func(_ context.Context, p peer.ID, row int) ([]byte, []erasure.Root, error) {
		switch p {
		case "liar":
			lies.Add(1)
			data, path, err := whole.Row(row)
			if err == nil {
				data[5] ^= 1
			}
			return data, path, err
		case "busy":
			return nil, nil, kad.ErrBusy
		case "gone":
			return nil, nil, kad.ErrUnreachable
		}
		if row%4 != int(p[0]-'0') { // half of the rows, one of each piece
			return nil, nil, kad.ErrNotHeld
		}
		return whole.Row(row)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := gatherRows(ctx, empty, holders, swarm.Status{}, row); err != nil {
		t.Fatalf("%v, with %d rows at hand", err, empty.RowsAtHand())
	}
	if n := lies.Load(); n > 4 {
		t.Errorf("%d rows were asked of the liar, want no more than it is asked at a time", n)
	}
	if n := empty.Held().Count(); n > 0 {
		t.Errorf("%d pieces are held, the test is about none", n)
	}
	if err := empty.Complete(ctx, nil); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(empty.Content())
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("content differs, or %v", err)
	}
}

// TestACrowdDoesNotKeepOthersOut has one network send holders by the hundred
// before honest ones come.
func TestACrowdDoesNotKeepOthersOut(t *testing.T) {
	_, whole, _ := publishedBlock(t, 20)
	hello := func(ip netip.Addr) kad.Hello {
		return kad.Hello{Known: true, Held: erasure.AllPieces(whole.Geometry().Pieces()).Bytes(), Torrent: netip.AddrPortFrom(ip, 1)}
	}
	h := gather.NewRows(whole, nil)
	for i := range 1000 {
		h.Heard(peer.ID(fmt.Sprint("sybil", i)), hello(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})))
	}
	for i := range 20 {
		h.Heard(peer.ID(fmt.Sprint("honest", i)), hello(netip.AddrFrom4([4]byte{203, 0, byte(i), 1})))
	}
	for i := range 1000 {
		h.Heard(peer.ID(fmt.Sprint("more", i)), hello(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})))
	}
	known := h.Known()
	if len(known) != 128 {
		t.Errorf("%d holders are remembered, want 128", len(known))
	}
	for i := range 20 {
		if !slices.Contains(known, peer.ID(fmt.Sprint("honest", i))) {
			t.Errorf("honest %d was crowded out", i)
		}
	}
}

// TestNoRowsAreGatheredWhileTheSwarmHasEnough leaves them to BitTorrent.
func TestNoRowsAreGatheredWhileTheSwarmHasEnough(t *testing.T) {
	_, whole, empty := publishedBlock(t, 20)
	g := whole.Geometry()
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	err := gatherRows(ctx, empty,
		map[peer.ID]kad.Hello{"0": {Held: erasure.AllPieces(g.Pieces()).Bytes(), Known: true}},
		swarm.Status{Peers: 1, Available: erasure.AllPieces(g.Pieces())},
		func(context.Context, peer.ID, int) ([]byte, []erasure.Root, error) {
			t.Error("a row was asked for")
			return nil, nil, kad.ErrBusy
		})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want that the time is over", err)
	}
}
