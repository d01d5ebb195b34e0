package light_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"granary/ledger"
	"granary/ledger/light"
)

// TestNoSourceAloneDecidesWhoIsHeard has all providers of one source keep news
// back, as many as there are; one of another source has them.
func TestNoSourceAloneDecidesWhoIsHeard(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	old := c.fork()
	c.publish("b")
	for name, sources := range map[string][][]string{
		"first source behind":  {{"peer 0", "peer 1", "peer 2", "peer 3"}, {"peer 4"}},
		"second source behind": {{"peer 4"}, {"peer 0", "peer 1", "peer 2", "peer 3"}},
		"both name the same":   {{"peer 0", "peer 1"}, {"peer 1", "peer 0"}, {"peer 4"}},
	} {
		cl, _ := client(t, c, light.Config{}, honest(old), honest(old), honest(old), honest(old), honest(c))
		cl.SetPeers(sources...)
		for range 3 { // also with experience
			if s := update(t, cl); s.Height != c.height() || s.Providers != 3 {
				t.Errorf("%s: height %d of %d from %d providers", name, s.Height, c.height(), s.Providers)
			}
		}
		// Who left one source and is named by another is still known.
		cl.SetPeers(slices.Concat(sources...))
		if s := update(t, cl); s.Height != c.height() {
			t.Errorf("%s: height %d of %d", name, s.Height, c.height())
		}
	}
}

// TestManySilentProvidersDoNotStopAnUpdate: anybody can be named any number of
// times by the DHT.
func TestManySilentProvidersDoNotStopAnUpdate(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	providers := []provider{honest(c)}
	var silent []string
	for range 16 {
		providers = append(providers, down)
	}
	for i := 1; i <= 16; i++ {
		silent = append(silent, peerName(i))
	}
	cl, _ := client(t, c, light.Config{}, providers...)
	cl.SetPeers([]string{peerName(0)}, silent)
	if s := update(t, cl); s.Height != c.height() || s.Providers != 1 {
		t.Errorf("height %d of %d from %d providers", s.Height, c.height(), s.Providers)
	}
}

// TestStrangersDoNotSayThatTheNetworkFileIsWrong has one who is named by the DHT
// alone show another chain.
func TestStrangersDoNotSayThatTheNetworkFileIsWrong(t *testing.T) {
	c := newSynth(t, 4)
	c.idle(8)
	other := newSynth(t, 3)
	other.idle(8)
	for name, point := range map[string]*light.Checkpoint{
		"from the genesis":  nil,
		"from a checkpoint": {Height: 5, Hash: ledger.Hash(c.blocks[4].Hash())},
	} {
		cl, w := client(t, c, light.Config{Checkpoint: point}, down, honest(other))
		cl.SetPeers([]string{"peer 0"}, []string{"peer 1"})
		if _, err := cl.Update(t.Context()); !errors.Is(err, light.ErrUnreachable) || errors.Is(err, light.ErrCheckpoint) {
			t.Errorf("%s, with a stranger alone: %v, want ErrUnreachable", name, err)
		}
		if len(cl.Liars()) != 0 {
			t.Errorf("%s: liars %v", name, cl.Liars())
		}
		w.providers["peer 0"] = honest(c)
		if s, _ := cl.Update(t.Context()); s.Head != c.state.Head() {
			t.Errorf("%s, with one that is named too: %+v", name, s)
		}

		cl, _ = client(t, c, light.Config{Checkpoint: point}, honest(other), down)
		cl.SetPeers([]string{"peer 0"}, []string{"peer 1"})
		if _, err := cl.Update(t.Context()); !errors.Is(err, light.ErrCheckpoint) {
			t.Errorf("%s, with one that is named alone: %v, want ErrCheckpoint", name, err)
		}
	}
}

// TestLiarsAreNotRememberedWithoutEnd: names are free.
func TestLiarsAreNotRememberedWithoutEnd(t *testing.T) {
	c := newSynth(t, 4)
	c.idle(1)
	cl, w := client(t, c, light.Config{}, honest(c))
	garbage := func(string, []byte) ([]byte, error) { return []byte("garbage"), nil }
	for i := range 1500 {
		w.providers[fmt.Sprintf("liar %d", i)] = garbage
	}
	for i := range 1500 {
		cl.SetPeers([]string{"peer 0"}, []string{fmt.Sprintf("liar %d", i)})
		update(t, cl)
	}
	liars := cl.Liars()
	if len(liars) < 1000 || len(liars) > 1024 || liars["liar 1499"] == nil {
		t.Errorf("%d liars are remembered, the last one: %v", len(liars), liars["liar 1499"])
	}
}
