package light_test

import (
	"slices"
	"testing"

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
