package swarm_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/anacrolix/torrent/mse"

	"granary/erasure"
	"granary/swarm"
)

// TestOfferedBlockIsServedWhenAskedFor: it is in the engine only while somebody
// is at it, and comes back as often as somebody asks.
func TestOfferedBlockIsServedWhenAskedFor(t *testing.T) {
	p := random(t, 40)
	seeder := open(t)
	seeder.Offer(p.id(), whole(t, p))
	for range 2 {
		if n := seeder.Torrents(); n != 0 {
			t.Fatalf("%d torrents in the engine before anybody asked", n)
		}
		leecher := open(t)
		b := newBlock(t, p.bundle)
		torrent := add(t, leecher, b)
		torrent.AddPeers(seeder.Addr())
		if err := torrent.FetchAny(testContext(t), nil); err != nil {
			t.Fatal(err)
		}
		seeder.Rest(time.Now().Add(time.Hour))
		if n := seeder.Torrents(); n != 1 {
			t.Errorf("%d torrents with a peer connected, want 1", n)
		}
		if err := leecher.Close(); err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(time.Hour)
		waitFor(t, "rest", func() bool {
			later = later.Add(time.Hour)
			seeder.Rest(later)
			return seeder.Torrents() == 0
		})
	}
	seeder.Remove(p.id())
	knock(t, seeder, p.id(), false)
	if n := seeder.Torrents(); n != 0 {
		t.Error("a removed block was called up")
	}
}

// greeting is what a peer says first.
func greeting(id erasure.ID) []byte {
	b := append([]byte("\x13BitTorrent protocol\x00\x00\x00\x00\x00\x10\x00\x04"), id[:20]...)
	return append(b, "-XX0000-abcdefghijkl"...)
}

// knock shakes hands about id and reports whether that was answered, which it is
// whatever the engine has.
func knock(t *testing.T, s *swarm.Swarm, id erasure.ID, obfuscated bool) bool {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	var rw io.ReadWriter = conn
	if obfuscated {
		if rw, _, err = mse.InitiateHandshake(conn, id[:20], nil, mse.CryptoMethodRC4); err != nil {
			return false
		}
	}
	if _, err := rw.Write(greeting(id)); err != nil {
		return false
	}
	answer := make([]byte, 48)
	_, err = io.ReadFull(rw, answer)
	return err == nil && bytes.Equal(answer[28:], id[:20])
}

func TestObfuscatedHandshakeCallsUpItsTorrent(t *testing.T) {
	p, other := random(t, 3), random(t, 3)
	seeder := open(t)
	seeder.Offer(p.id(), whole(t, p))
	seeder.Offer(other.id(), whole(t, other))
	if !knock(t, seeder, p.id(), true) {
		t.Error("no answer")
	}
	waitFor(t, "the torrent", func() bool { _, ok := seeder.Torrent(p.id()); return ok })
	if n := seeder.Torrents(); n != 1 {
		t.Errorf("%d torrents in the engine, want the one asked for", n)
	}
}

// TestStrangersCannotFillTheEngine: who asks for one block after the other
// does not have all of them in memory at once.
func TestStrangersCannotFillTheEngine(t *testing.T) {
	seeder := open(t)
	var ids []erasure.ID
	for i := range 3 * swarm.MaxResting {
		p := publish(t, []byte{byte(i), 1, 2, 3})
		seeder.Offer(p.id(), whole(t, p))
		ids = append(ids, p.id())
	}
	for _, id := range ids {
		knock(t, seeder, id, false)
	}
	waitFor(t, "few torrents", func() bool {
		seeder.Rest(time.Now())
		return seeder.Torrents() <= swarm.MaxResting
	})
	knock(t, seeder, erasure.ID{1}, false)
	knock(t, seeder, ids[0], false)
	waitFor(t, "the first again", func() bool { _, ok := seeder.Torrent(ids[0]); return ok })
}
