package light_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"granary/ledger"
	"granary/ledger/light"
)

func TestClientFollowsFromGenesis(t *testing.T) {
	c := newSynth(t, 4)
	announced, certified := c.publish("a")
	c.idle(50)
	cl, w := client(t, c, light.Config{Dir: t.TempDir()}, honest(c), honest(c), honest(c))
	s := update(t, cl)
	if s.State != light.Synced || s.Height != c.height() || s.Head != c.state.Head() || s.Providers != 3 || s.Agreeing != 3 {
		t.Errorf("status %+v", s)
	}
	t.Logf("%d calls, %d bytes", w.calls, w.bytes)

	f, err := cl.Find(t.Context(), record("a").ID())
	if err != nil {
		t.Fatal(err)
	}
	if f.Index != announced || f.OutcomeIndex != certified || f.Status != ledger.Certified || f.Outcome.Outcome.Power != 3 ||
		f.Total != 4 || f.Record().ID() != record("a").ID() {
		t.Errorf("found %+v", f)
	}
	if _, err := cl.Find(t.Context(), record("b").ID()); !errors.Is(err, light.ErrNotInLedger) {
		t.Errorf("find what is not there: %v", err)
	}
	entries, err := cl.Entries(t.Context(), 0, 100)
	if err != nil || uint64(len(entries)) != s.Head.Size || entries[0].Genesis != c.genesis.Hash() || entries[certified].Kind != ledger.EntryCertified {
		t.Errorf("entries %+v, %v", entries, err)
	}
}

func TestClientFollowsFromCheckpoint(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	c.idle(10)
	block := c.blocks[7]
	good := &light.Checkpoint{Height: 8, Hash: ledger.Hash(block.Hash())}
	cl, _ := client(t, c, light.Config{Checkpoint: good}, honest(c))
	if s := update(t, cl); s.Head != c.state.Head() {
		t.Errorf("status %+v", s)
	}

	wrong := &light.Checkpoint{Height: 8, Hash: ledger.Hash(c.blocks[6].Hash())}
	cl, _ = client(t, c, light.Config{Checkpoint: wrong}, honest(c), honest(c))
	if s, err := cl.Update(t.Context()); !errors.Is(err, light.ErrCheckpoint) || s.Height != 0 {
		t.Errorf("a wrong checkpoint: %+v, %v", s, err)
	}
	if len(cl.Liars()) != 0 {
		t.Errorf("who has another chain than a wrong checkpoint is no liar: %v", cl.Liars())
	}
}

func TestCheckpointOfAnotherGenesisIsRefused(t *testing.T) {
	c := newSynth(t, 4)
	c.idle(5)
	genesis := c.genesis
	genesis.Params.AnnounceWindow += time.Millisecond
	cl, _ := client(t, c, light.Config{Genesis: genesis, Checkpoint: &light.Checkpoint{Height: 3, Hash: ledger.Hash(c.blocks[2].Hash())}}, honest(c))
	if s, err := cl.Update(t.Context()); !errors.Is(err, light.ErrCheckpoint) || s.Height != 0 {
		t.Errorf("status %+v, %v", s, err)
	}
	cl, _ = client(t, c, light.Config{Genesis: genesis}, honest(c))
	if s, err := cl.Update(t.Context()); !errors.Is(err, light.ErrCheckpoint) || s.Height != 0 {
		t.Errorf("from the genesis: %+v, %v", s, err)
	}
}

func TestClientRemembers(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	dir := t.TempDir()
	cl, _ := client(t, c, light.Config{Dir: dir}, honest(c))
	first := update(t, cl)
	point, ok := cl.Checkpoint()
	if !ok || point.Height != first.Height {
		t.Errorf("checkpoint %+v", point)
	}

	again, w := client(t, c, light.Config{Dir: dir}, down)
	if h, height := again.Head(); h != first.Head || height != first.Height {
		t.Errorf("after the restart: head %+v at height %d", h, height)
	}
	if s, err := again.Update(t.Context()); !errors.Is(err, light.ErrUnreachable) || s.State != light.Unreachable || s.Head != first.Head {
		t.Errorf("cut off: %+v, %v", s, err)
	}

	// A chain that has lost what was seen.
	evil := newSynth(t, 4)
	evil.idle(20)
	w.providers["peer 0"] = honest(evil)
	again, _ = client(t, evil, light.Config{Dir: dir}, honest(evil))
	if s, err := again.Update(t.Context()); !errors.Is(err, light.ErrForked) || s.Head != first.Head {
		t.Errorf("a shorter log after the restart: %+v, %v", s, err)
	}

	// A damaged file is said, not worked around.
	path := filepath.Join(dir, "trusted")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range [][]byte{raw[:len(raw)-1], {}, append(raw, 0)} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := light.Open(t.Context(), light.Config{Genesis: c.genesis, Dir: dir}, w); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("a damaged file: %v", err)
		}
	}
}

func TestNewerCheckpointGoesBeforeWhatIsRemembered(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	dir := t.TempDir()
	cl, _ := client(t, c, light.Config{Dir: dir, TrustPeriod: time.Hour}, honest(c))
	update(t, cl)
	c.idle(2 * int(time.Hour/interval)) // too long away
	cl, _ = client(t, c, light.Config{Dir: dir, TrustPeriod: time.Hour}, honest(c))
	if s, err := cl.Update(t.Context()); !errors.Is(err, light.ErrCheckpoint) {
		t.Fatalf("expired trust: %+v, %v", s, err)
	}
	if len(cl.Liars()) != 0 {
		t.Errorf("liars %v", cl.Liars())
	}
	point := &light.Checkpoint{Height: c.height() - 10, Hash: ledger.Hash(c.blocks[c.height()-11].Hash())}
	cl, _ = client(t, c, light.Config{Dir: dir, TrustPeriod: time.Hour, Checkpoint: point}, honest(c))
	if s := update(t, cl); s.Head != c.state.Head() || s.Height != c.height() {
		t.Errorf("with a newer checkpoint: %+v", s)
	}
	cl, _ = client(t, c, light.Config{TrustPeriod: time.Hour}, honest(c))
	if s, err := cl.Update(t.Context()); !errors.Is(err, light.ErrCheckpoint) {
		t.Errorf("a genesis too old: %+v, %v", s, err)
	}
}

func TestStaleHeadIsReported(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	now := c.now()
	cl, _ := client(t, c, light.Config{Now: func() time.Time { return now }}, honest(c))
	now = c.now().Add(2 * c.genesis.Params.Heartbeat)
	if s := update(t, cl); s.State != light.Synced || !s.Time.Equal(c.now()) {
		t.Errorf("two heartbeats old: %+v", s)
	}
	now = now.Add(time.Millisecond)
	if s, err := cl.Update(t.Context()); !errors.Is(err, light.ErrStale) || s.State != light.Stale || s.Head != c.state.Head() {
		t.Errorf("older: %+v, %v", s, err)
	}
}

func TestClockBehindIsNoLie(t *testing.T) {
	c := newSynth(t, 4)
	c.idle(60)
	cl, _ := client(t, c, light.Config{Now: func() time.Time { return genesisTime.Add(interval) }}, honest(c))
	if _, err := cl.Update(t.Context()); !errors.Is(err, light.ErrClock) {
		t.Errorf("update: %v", err)
	}
	if len(cl.Liars()) != 0 {
		t.Errorf("liars %v", cl.Liars())
	}
}

func TestFewerProvidersAreSaid(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	behind := c.fork()
	c.idle(4)
	late := c.fork()
	c.idle(1)
	for _, tt := range []struct {
		providers           []provider
		answering, agreeing int
	}{
		{[]provider{honest(c)}, 1, 1},
		{[]provider{down, honest(c), down}, 1, 1},
		{[]provider{down, honest(c), down, honest(c)}, 2, 2},
		{[]provider{down, honest(c), down, honest(c), honest(c), honest(c)}, 3, 3},
		{[]provider{honest(late), honest(c), honest(behind)}, 3, 3},
	} {
		cl, _ := client(t, c, light.Config{}, tt.providers...)
		if s := update(t, cl); s.Providers != tt.answering || s.Agreeing != tt.agreeing || s.Head != c.state.Head() {
			t.Errorf("%d providers: %+v", len(tt.providers), s)
		}
	}
	cl, _ := client(t, c, light.Config{})
	if s, err := cl.Update(t.Context()); !errors.Is(err, light.ErrUnreachable) || s.State != light.Unreachable {
		t.Errorf("no providers: %+v, %v", s, err)
	}
}

func TestClientFollowsChangingValidators(t *testing.T) {
	c := newSynth(t, 4)
	for i := range 12 { // one of four is replaced every 5 heights
		c.change(names(4, i+1))
		c.idle(5)
	}
	cl, w := client(t, c, light.Config{}, honest(c), honest(c))
	if s := update(t, cl); s.Height != c.height() || s.Agreeing != 2 {
		t.Errorf("status %+v", s)
	}
	if w.calls <= 3 {
		t.Errorf("%d calls: three sets in a row have nobody in common", w.calls)
	}
}

func TestSubmitGivesTheReason(t *testing.T) {
	c := newSynth(t, 4)
	cl, _ := client(t, c, light.Config{}, down, honest(c), honest(c))
	raw, err := ledger.SignAnnounce(c.genesis.ChainID, key("alice"), 1, record("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.Submit(t.Context(), raw); err != nil {
		t.Errorf("submit: %v", err)
	}
	late, err := ledger.SignAnnounce(c.genesis.ChainID, key("alice"), 1000, record("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.Submit(t.Context(), late); !errors.Is(err, ledger.ErrNonce) {
		t.Errorf("nonce: %v", err)
	}
	if err := cl.Submit(t.Context(), []byte("garbage")); !errors.Is(err, ledger.ErrMalformed) {
		t.Errorf("garbage: %v", err)
	}
	cl, _ = client(t, c, light.Config{}, down)
	if err := cl.Submit(t.Context(), raw); !errors.Is(err, light.ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestAccountAndNetworkAreProven(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	cl, _ := client(t, c, light.Config{}, honest(c))
	update(t, cl)
	who := ledger.KeyOf(key("publisher of a"))
	want, err := c.state.Account(who)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cl.Account(t.Context(), who); err != nil || got != want || got.Nonce != 1 {
		t.Errorf("account %+v, %v, want %+v", got, err, want)
	}
	set, params, err := cl.Network(t.Context())
	if err != nil || len(set) != 4 || string(set[2].Peer) != "peer 2" || params != c.genesis.Params {
		t.Errorf("network %+v %+v, %v", set, params, err)
	}
}

func TestFindUpdatesFirst(t *testing.T) {
	c := newSynth(t, 4)
	cl, _ := client(t, c, light.Config{}, honest(c))
	c.idle(1)
	update(t, cl)
	c.publish("a")
	f, err := cl.Find(t.Context(), record("a").ID())
	if err != nil || f.Status != ledger.Certified {
		t.Errorf("found %+v, %v", f, err)
	}
}
