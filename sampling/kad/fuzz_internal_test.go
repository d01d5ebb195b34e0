package kad

import (
	"strings"
	"testing"
	"time"

	ds "github.com/ipfs/go-datastore"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"granary/sampling"
)

// Whatever a file of holders says, the table stays within its bounds, and what
// was understood is what is kept again.
func FuzzHolders(f *testing.F) {
	const one = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"
	f.Add([]byte(`{"v":1,"looked":{"3":"2026-01-01T00:00:00Z"},"known":{"` + one + `":{"addrs":["/ip4/1.2.3.4/udp/1/quic-v1"],"heard":"2026-01-01T00:00:00Z","failed":-9}}}`))
	p, err := peer.Decode(one)
	if err != nil {
		f.Fatal(err)
	}
	addrs := strings.Repeat(`"/ip4/1.2.3.4/tcp/1",`, maxKnownAddrs)
	f.Add([]byte(`{"v":1,"known":{"` + one + `":{"addrs":[` + addrs + `"x"]},"` + peer.ToCid(p).String() + `":{"addrs":[` + addrs + `"x"],"failed":9223372036854775807}}}`))
	f.Add([]byte(`{"v":1,"looked":{"-1":"2026-01-01T00:00:00Z","64":"0001-01-01T00:00:00Z"}}`))
	groups := func(peer.ID) sampling.GroupSet { return 5 }
	f.Fuzz(func(t *testing.T, raw []byte) {
		now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
		a := newTable(groups)
		if a.decode(raw, now) != nil {
			return
		}
		if len(a.known) > maxKnown {
			t.Errorf("%d custodians are known", len(a.known))
		}
		for p, k := range a.known {
			if len(k.addrs) > maxKnownAddrs || k.failed < 0 || k.last().After(now) {
				t.Errorf("%s: %d addresses, %d failures, last seen %v", p, len(k.addrs), k.failed, k.last())
			}
		}
		// A CID may name what no key hashes to: it is not written as a peer ID, and
		// so left out when it is read again.
		var kept [2][]byte
		raw = a.encode()
		for i := range kept {
			b := newTable(groups)
			if err := b.decode(raw, now); err != nil {
				t.Fatalf("what was kept is not read: %v\n%s", err, raw)
			}
			raw = b.encode()
			kept[i] = raw
		}
		if string(kept[0]) != string(kept[1]) {
			t.Errorf("kept\n%s and then\n%s", kept[0], kept[1])
		}
	})
}

// Keys of the DHT's records are its library's, and checked all the same.
func FuzzRecords(f *testing.F) {
	f.Add("/providers/KEY/PEER", []byte{1})
	f.Add("/providers//", []byte{})
	f.Add("/providers/a/b/c", []byte{2})
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		r := newRecords()
		k := ds.NewKey(key)
		if r.Put(t.Context(), k, value) != nil {
			return
		}
		if got, err := r.Get(t.Context(), k); err != nil || string(got) != string(value) {
			t.Errorf("%q: got %x, %v, want %x", key, got, err, value)
		}
		if err := r.Delete(t.Context(), k); err != nil || r.count != 0 || len(r.byKey)+len(r.byPeer) != 0 {
			t.Errorf("%q: %d records of %d keys are left, %v", key, r.count, len(r.byKey), err)
		}
	})
}

// Only what has a length that an announcement may have is looked at.
func FuzzAnnouncement(f *testing.F) {
	f.Add([]byte("12345678"))
	f.Add([]byte("12345678a"))
	f.Add(make([]byte, nonceSize+MaxAnnouncement+1))
	f.Fuzz(func(t *testing.T, data []byte) {
		looked := 0
		g := &gossip{self: "self", recent: map[[32]byte]time.Time{}, check: func(msg []byte) Judgement {
			looked++
			if len(msg) == 0 || len(msg) > MaxAnnouncement {
				t.Errorf("an announcement of %d bytes", len(msg))
			}
			return Accept
		}}
		first, second := g.judge("peer", data), g.judge("other", data)
		if looked == 1 != (first == pubsub.ValidationAccept && second == pubsub.ValidationIgnore) {
			t.Errorf("judged %v and %v, looked at %d times", first, second, looked)
		}
	})
}
