package blobstore_test

import (
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"granary/blobstore"
	"granary/erasure"
)

// TestScrubGoesOnThoughTheClockIsBehind: what was noted lies in the future then.
func TestScrubGoesOnThoughTheClockIsBehind(t *testing.T) {
	e := encodeSmall(t, 70)
	dir, _ := stored(t, e)
	s := open(t, dir, blobstore.Config{})
	b, err := s.Block(e.ID())
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough for today")
	var paced int
	_, err = b.Scrub(t.Context(), blobstore.ScrubConfig{Pace: func(_ context.Context, n int) error {
		if paced += n; paced > 10*erasure.RowSize {
			return enough
		}
		return nil
	}})
	wantErr(t, "scrub", err, enough)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(filepath.Join(dir, "index.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := e.ID()
	err = db.Update(func(tx *bbolt.Tx) error {
		scrubs := tx.Bucket([]byte("scrubs"))
		v := append([]byte(nil), scrubs.Get(id[:])...)
		for i := range 2 {
			binary.LittleEndian.PutUint64(v[8*i:], uint64(time.Now().AddDate(1, 0, 0).Unix()))
		}
		return scrubs.Put(id[:], v)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, blobstore.Config{})
	if b, err = s.Block(id); err != nil {
		t.Fatal(err)
	}
	if at := b.Checked(); at.IsZero() || at.After(time.Now()) {
		t.Errorf("checked %v, want now", at)
	}
	if r := scrub(t, b); r.Pieces != 14 {
		t.Errorf("went on with %d pieces, want the other 14", r.Pieces)
	}
}
