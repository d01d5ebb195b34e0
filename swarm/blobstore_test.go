package swarm_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"granary/blobstore"
	"granary/erasure"
	"granary/swarm"
)

var _ swarm.Block = (*blobstore.Block)(nil)

func openStore(t *testing.T, dir string) *blobstore.Store {
	t.Helper()
	s, err := blobstore.Open(testContext(t), dir, blobstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestABlockOnDiskIsFetchedCompletedAndServedAfterARestart(t *testing.T) {
	ctx := testContext(t)
	want := randomBytes(700*erasure.RowSize - 7) // pieces of two rows
	source := openStore(t, t.TempDir())
	defer source.Close()
	original, err := source.Import(ctx, "block.bin", bytes.NewReader(want), nil)
	if err != nil {
		t.Fatal(err)
	}
	publisher := open(t)
	add(t, publisher, original)

	dir := t.TempDir()
	store := openStore(t, dir)
	b, err := store.Put(ctx, original.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	mirror := open(t)
	torrent := add(t, mirror, b)
	torrent.AddPeers(publisher.Addr())
	if err := torrent.FetchAny(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Complete(ctx, nil); err != nil {
		t.Fatal(err)
	}
	torrent.Refresh()
	if st := torrent.Status(); st.Rows != 1400 {
		t.Fatalf("%d rows held, want all 1400", st.Rows)
	}
	if err := mirror.Close(); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := publisher.Close(); err != nil {
		t.Fatal(err)
	}

	store = openStore(t, dir)
	defer store.Close()
	b, err = store.Block(original.ID())
	if err != nil {
		t.Fatal(err)
	}
	mirror = open(t)
	add(t, mirror, b)
	last, err := openStoreIn(t).Put(ctx, original.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	leecher := open(t)
	torrent = add(t, leecher, last)
	torrent.AddPeers(mirror.Addr())
	if err := torrent.FetchAny(ctx, nil); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(last.Content())
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("content differs, or %v", err)
	}
	// The swarms read the stores until they are closed.
	if err := leecher.Close(); err != nil {
		t.Error(err)
	}
	if err := mirror.Close(); err != nil {
		t.Error(err)
	}
}

// TestNothingHeldIsFetchedAgain ends a fetch in the middle and counts what the
// next one reads.
func TestNothingHeldIsFetchedAgain(t *testing.T) {
	const k = 1100 // pieces of four rows
	p := random(t, k)
	seeder := open(t, func(c *swarm.Config) { c.UploadRate = 16 << 20 })
	add(t, seeder, whole(t, p))
	dir := t.TempDir()
	life := func(enough int) (before int, read int64, rows int) {
		store := openStore(t, dir)
		defer store.Close()
		b, err := store.Put(testContext(t), p.bundle)
		if err != nil {
			t.Fatal(err)
		}
		before = b.Rows()
		s := open(t)
		torrent := add(t, s, b)
		torrent.AddPeers(seeder.Addr())
		ctx, cancel := context.WithCancel(testContext(t))
		defer cancel()
		err = torrent.FetchAny(ctx, func(st swarm.Status) {
			if st.Rows >= enough {
				cancel()
			}
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		read = torrent.Status().Read
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		return before, read, b.Rows()
	}
	_, first, held := life(k / 3)
	before, second, rows := life(2 * k)
	if rows < k || before < held {
		t.Fatalf("%d rows held, %d after the restart, and %d in the end; want %d", held, before, rows, k)
	}
	t.Logf("%d rows held, %d more had come; %d held after the restart, %d more were read", held, first/erasure.RowSize-int64(held), before, second/erasure.RowSize)
	if got, want := second, int64(k-before)*erasure.RowSize; got != want {
		t.Errorf("read %d bytes after the restart, want %d", got, want)
	}
}

func openStoreIn(t *testing.T) *blobstore.Store {
	s := openStore(t, t.TempDir())
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
