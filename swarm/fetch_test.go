package swarm_test

import (
	"bytes"
	"testing"

	"granary/erasure"
)

func TestFetchAnyFromAWholeSeeder(t *testing.T) {
	for _, k := range []int{1, 2, 33, 512, 777} {
		p := random(t, k)
		seeder, leecher := open(t), open(t)
		add(t, seeder, whole(t, p))
		b := newBlock(t, p.bundle)
		torrent := add(t, leecher, b)
		torrent.AddPeers(seeder.Addr())
		if err := torrent.FetchAny(testContext(t), nil); err != nil {
			t.Fatalf("k = %d: %v", k, err)
		}
		if !bytes.Equal(b.recovered(t), p.content) {
			t.Errorf("k = %d: content differs", k)
		}
		st := torrent.Status()
		if got, want := st.Rows, k; got != want {
			t.Errorf("k = %d: %d rows held, want the content's %d", k, got, want)
		}
		if got, limit := st.Read, int64(k)*erasure.RowSize; got > limit {
			t.Errorf("k = %d: read %d bytes, want %d", k, got, limit)
		}
	}
}
