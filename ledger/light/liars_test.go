package light_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"granary/ledger"
	"granary/ledger/light"
)

// The messages as they travel, to make false ones.
type (
	reply struct {
		_    struct{} `cbor:",toarray"`
		Code uint64
		Body []byte
	}
	headReply struct {
		_     struct{} `cbor:",toarray"`
		Block []byte
		Head  struct {
			_           struct{} `cbor:",toarray"`
			Size        uint64
			Root, State ledger.Hash
		}
		Consistency []ledger.Hash
	}
	proven struct {
		_     struct{} `cbor:",toarray"`
		Index uint64
		Leaf  []byte
		Path  []ledger.Hash
	}
	entriesReply struct {
		_       struct{} `cbor:",toarray"`
		Entries []proven
	}
	findReply struct {
		_            struct{} `cbor:",toarray"`
		Announcement proven
		Outcome      []proven
		Power, Total int64
		Until        int64
	}
)

// forger changes the good replies of one type that an honest provider gives.
func forger[R any](src light.Source, change func(*R)) provider {
	serve := honest(src)
	return func(protocol string, req []byte) ([]byte, error) {
		raw, err := serve(protocol, req)
		var rep reply
		var body R
		strict, modeErr := cbor.DecOptions{ExtraReturnErrors: cbor.ExtraDecErrorUnknownField}.DecMode()
		if err != nil || modeErr != nil || cbor.Unmarshal(raw, &rep) != nil || rep.Code != 0 || strict.Unmarshal(rep.Body, &body) != nil {
			return raw, err
		}
		if again, err := cbor.Marshal(body); err != nil || !bytes.Equal(again, rep.Body) {
			return raw, err // of another type
		}
		change(&body)
		if rep.Body, err = cbor.Marshal(body); err != nil {
			return nil, err
		}
		return cbor.Marshal(rep)
	}
}

func TestLiarsAreFoundOutAndOthersBelieved(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	early := c.fork() // the head that clients trust first
	c.publish("b")
	c.idle(3)
	rolledBack := c.fork()

	// A chain with the same validators' keys, too few of which signed it.
	minority := early.fork()
	minority.signers = 2
	minority.publish("a lie")
	minority.idle(10)

	// A chain of other validators.
	strangers := newSynth(t, 4)
	strangers.sets = []validatorSet{newSet(names(4, 10)), newSet(names(4, 10))}
	strangers.publish("a lie")
	strangers.idle(20)

	for _, tt := range []struct {
		name string
		liar provider
	}{
		{"flipped AppHash", flipBlock(c)},
		{"too few signatures", honest(minority)},
		{"other validators", honest(strangers)},
		{"a head of another size", forger(c, func(r *headReply) { r.Head.Size-- })},
		{"a head rolled back below a new header", forger(c, func(r *headReply) {
			r.Head.Size, r.Head.Root, r.Head.State = early.state.Head().Size, early.state.Head().Root, early.state.Head().State
		})},
		{"a wrong consistency proof", forger(c, func(r *headReply) {
			if len(r.Consistency) > 0 {
				r.Consistency[0][0] ^= 1
			}
		})},
		{"no consistency proof", forger(c, func(r *headReply) { r.Consistency = nil })},
		{"garbage", func(string, []byte) ([]byte, error) { return []byte("garbage"), nil }},
		{"nothing", func(string, []byte) ([]byte, error) { return nil, nil }},
		{"a reply without end", func(string, []byte) ([]byte, error) { return make([]byte, light.MaxReply+1), nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serving := early
			switching := func(liar provider) provider { // honest until the client trusts the early head
				return func(protocol string, req []byte) ([]byte, error) {
					if serving == early {
						return honest(early)(protocol, req)
					}
					return liar(protocol, req)
				}
			}
			truth := switching(honest(rolledBack))
			cl, _ := client(t, c, light.Config{Now: func() time.Time { return serving.now() }}, switching(tt.liar), truth, truth)
			update(t, cl)
			serving = c
			s := update(t, cl)
			if s.Head != c.state.Head() || s.Height != c.height() {
				t.Errorf("status %+v, want the head of the truth", s)
			}
			// Who claims what no signatures lead to is not asked on while others are fresh.
			_, caught := cl.Liars()["peer 0"]
			if far := tt.name == "other validators"; caught == far || len(cl.Liars()) > 1 {
				t.Errorf("liars %v, want peer 0 unless %v", cl.Liars(), far)
			}

			// With the liar alone, nothing moves.
			serving = early
			alone, _ := client(t, c, light.Config{Now: func() time.Time { return serving.now() }}, switching(tt.liar))
			before := update(t, alone)
			serving = c
			after, err := alone.Update(t.Context())
			if !errors.Is(err, light.ErrLying) || after.Head != before.Head || after.State != light.Unreachable {
				t.Errorf("with the liar alone: %+v, %v", after, err)
			}
		})
	}
}

// flipBlock serves light blocks with another AppHash.
func flipBlock(c *synth) provider {
	lying := c.fork()
	last := *lying.blocks[lying.height()-1]
	signed := *last.SignedHeader
	header := *signed.Header
	header.AppHash = bytes.Clone(header.AppHash)
	header.AppHash[0] ^= 1
	signed.Header = &header
	last.SignedHeader = &signed
	lying.blocks[lying.height()-1] = &last
	return honest(lying)
}

func TestForgedEntriesAreRefused(t *testing.T) {
	c := newSynth(t, 4)
	announced, certified := c.publish("a")
	c.publish("b")
	other, err := c.state.Leaf(announced + 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		liar provider
	}{
		{"a flipped leaf", forger(c, func(r *entriesReply) { r.Entries[0].Leaf[3] ^= 1 })},
		{"another leaf", forger(c, func(r *entriesReply) { r.Entries[0].Leaf = other })},
		{"another index", forger(c, func(r *entriesReply) { r.Entries[0].Index++ })},
		{"a flipped path", forger(c, func(r *entriesReply) { r.Entries[0].Path[0][0] ^= 1 })},
		{"a path without end", forger(c, func(r *entriesReply) {
			r.Entries[0].Path = append(r.Entries[0].Path, make([]ledger.Hash, 80)...)
		})},
		{"no entries", forger(c, func(r *entriesReply) { r.Entries = nil })},
		{"too many", forger(c, func(r *entriesReply) { r.Entries = append(r.Entries, r.Entries[0]) })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cl, _ := client(t, c, light.Config{}, tt.liar, honest(c))
			update(t, cl)
			e, err := cl.Entry(t.Context(), certified)
			if err != nil || e.Outcome.Announcement != announced {
				t.Errorf("entry %+v, %v", e, err)
			}
			if cl.Liars()["peer 0"] == nil && cl.Liars()["peer 1"] == nil {
				// The honest one may have been asked first; then ask the other alone.
				cl, _ = client(t, c, light.Config{}, tt.liar)
				update(t, cl)
				if _, err := cl.Entry(t.Context(), certified); !errors.Is(err, light.ErrLying) {
					t.Errorf("the liar alone: %v", err)
				}
			}
		})
	}

	for _, tt := range []struct {
		name   string
		change func(*findReply)
	}{
		{"an announcement of another block", func(r *findReply) { r.Announcement = foundAs(t, c, "b").Announcement }},
		{"an outcome of another block", func(r *findReply) { r.Outcome = foundAs(t, c, "b").Outcome }},
		{"an outcome that is none", func(r *findReply) { r.Outcome[0] = r.Announcement }},
		{"two outcomes", func(r *findReply) { r.Outcome = append(r.Outcome, r.Outcome[0]) }},
		{"a flipped outcome", func(r *findReply) { r.Outcome[0].Leaf[5] ^= 1 }},
	} {
		t.Run("find: "+tt.name, func(t *testing.T) {
			cl, _ := client(t, c, light.Config{}, forger(c, tt.change))
			update(t, cl)
			if _, err := cl.Find(t.Context(), record("a").ID()); !errors.Is(err, light.ErrLying) {
				t.Errorf("find: %v", err)
			}
		})
	}
}

// foundAs returns the reply that an honest provider gives for a block.
func foundAs(t *testing.T, c *synth, name string) findReply {
	t.Helper()
	var got findReply
	cl, _ := client(t, c, light.Config{}, forger(c, func(r *findReply) { got = *r }))
	update(t, cl)
	if _, err := cl.Find(t.Context(), record(name).ID()); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestForkStopsTheClient(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	evil := c.fork() // both have all signatures
	c.publish("b")
	evil.publish("c")
	evil.idle(2)
	cl, _ := client(t, evil, light.Config{}, honest(c), honest(evil), honest(c))
	s, err := cl.Update(t.Context())
	if !errors.Is(err, light.ErrForked) || s.State != light.Forked {
		t.Fatalf("two signed chains: %+v, %v", s, err)
	}
	cl.SetPeers([]string{"peer 0"})
	if s, err := cl.Update(t.Context()); !errors.Is(err, light.ErrForked) || s.State != light.Forked {
		t.Errorf("asked again: %+v, %v", s, err)
	}
}

func TestEvidenceOfAForkIsKept(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	evil := c.fork()
	c.publish("b")
	evil.publish("c")
	dir := t.TempDir()
	cl, _ := client(t, c, light.Config{Dir: dir}, honest(c), honest(evil))
	if _, err := cl.Update(t.Context()); !errors.Is(err, light.ErrForked) {
		t.Fatalf("two signed chains: %v", err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "forked"))
	if err != nil {
		t.Fatal(err)
	}
	var kept struct {
		_            struct{} `cbor:",toarray"`
		Reason       string
		Ours, Theirs []byte
	}
	if err := cbor.Unmarshal(raw, &kept); err != nil {
		t.Fatal(err)
	}
	for _, block := range [][]byte{kept.Ours, kept.Theirs} {
		if !bytes.Equal(block, lightBlock(t, c)) && !bytes.Equal(block, lightBlock(t, evil)) {
			t.Errorf("evidence %x is none of the two blocks", block)
		}
	}
	// All four signed both in one round, which each provider that is found is told once.
	again, _ := client(t, c, light.Config{Dir: dir}, honest(c))
	c.accused, evil.accused = nil, nil
	for range 3 {
		if s, err := again.Update(t.Context()); !errors.Is(err, light.ErrForked) {
			t.Errorf("after a restart: %+v, %v", s, err)
		}
	}
	if len(c.accused) != 4 {
		t.Errorf("%d validators are accused, want all four once", len(c.accused))
	}
}

func TestEvidenceOfAForkIsHandedOn(t *testing.T) {
	for _, validators := range []int{4, 20} {
		c := newSynth(t, validators)
		c.publish("a")
		evil := c.fork()
		c.publish("b")
		evil.publish("c")
		cl, _ := client(t, c, light.Config{}, honest(evil), down, honest(c))
		if _, err := cl.Update(t.Context()); !errors.Is(err, light.ErrForked) {
			t.Fatalf("two signed chains: %v", err)
		}
		if len(c.accused) != validators {
			t.Errorf("%d of %d validators are accused", len(c.accused), validators)
		}
	}
	// Who takes the log back signed no two blocks of one height, that could be seen.
	c := newSynth(t, 4)
	c.publish("a")
	evil := newSynth(t, 4)
	evil.idle(20)
	serving := c
	cl, _ := client(t, evil, light.Config{Now: func() time.Time { return serving.now() }}, func(protocol string, req []byte) ([]byte, error) {
		return honest(serving)(protocol, req)
	})
	update(t, cl)
	serving = evil
	if _, err := cl.Update(t.Context()); !errors.Is(err, light.ErrForked) || len(evil.accused) != 0 {
		t.Errorf("%v, %d accused", err, len(evil.accused))
	}
}

func lightBlock(t *testing.T, c *synth) []byte {
	t.Helper()
	raw, err := c.LightBlock(0)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestAnotherStateOfTheSameLogIsAFork has validators sign two states of one log.
func TestAnotherStateOfTheSameLogIsAFork(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	evil := c.fork()
	evil.state = nil
	evil.lie = &ledger.Head{Size: c.state.Head().Size, Root: c.state.Head().Root, State: ledger.Hash{1}}
	serving := provider(honest(c))
	cl, _ := client(t, c, light.Config{Now: func() time.Time { return genesisTime.Add(4 * interval) }}, func(protocol string, req []byte) ([]byte, error) {
		return serving(protocol, req)
	})
	update(t, cl)
	evil.sets = append(evil.sets, evil.sets[len(evil.sets)-1])
	evil.header()
	serving = forger(c, func(r *headReply) {
		r.Block = lightBlock(t, evil)
		r.Head.State = evil.lie.State
		r.Consistency = []ledger.Hash{}
	})
	if s, err := cl.Update(t.Context()); !errors.Is(err, light.ErrForked) {
		t.Errorf("another state of the same log: %+v, %v", s, err)
	}
}

func TestClientThatCannotFollowLags(t *testing.T) {
	c := newSynth(t, 4)
	c.idle(1)
	asleep := false
	cl, _ := client(t, c, light.Config{}, func(protocol string, req []byte) ([]byte, error) {
		// It has the latest height only: [1, [0, from]].
		if asleep && len(req) > 3 && req[3] != 0 {
			return down(protocol, req)
		}
		return honest(c)(protocol, req)
	})
	update(t, cl)
	for i := range 12 {
		c.change(names(4, i+1))
		c.idle(2)
	}
	asleep = true
	if s, err := cl.Update(t.Context()); err == nil || s.State != light.Lagging || s.Behind != c.height()-1 || s.Height != 1 {
		t.Errorf("%+v, %v, want lagging by %d", s, err, c.height()-1)
	}
	asleep = false
	if s := update(t, cl); s.State != light.Synced || s.Behind != 0 {
		t.Errorf("%+v, want synced", s)
	}
}

func TestForkAtTheTrustedHeightStopsTheClient(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	evil := c.fork()
	c.publish("b")
	evil.publish("c")
	serving := c
	switching := func(protocol string, req []byte) ([]byte, error) { return honest(serving)(protocol, req) }
	cl, _ := client(t, c, light.Config{}, switching)
	update(t, cl)
	serving = evil
	if s, err := cl.Update(t.Context()); !errors.Is(err, light.ErrForked) || s.State != light.Forked {
		t.Errorf("another chain at the same height: %+v, %v", s, err)
	}
}

func TestSignedRollbackIsAFork(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	evil := newSynth(t, 4) // the same validators sign a higher chain with a shorter log
	evil.idle(20)
	serving := c
	switching := func(protocol string, req []byte) ([]byte, error) { return honest(serving)(protocol, req) }
	cl, _ := client(t, evil, light.Config{Now: func() time.Time { return serving.now() }}, switching)
	before := update(t, cl)
	serving = evil
	s, err := cl.Update(t.Context())
	if !errors.Is(err, light.ErrForked) || s.Head != before.Head {
		t.Errorf("a log that shrinks: %+v, %v", s, err)
	}
}

func TestOfferJudges(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	old, err := c.LightBlock(0)
	if err != nil {
		t.Fatal(err)
	}
	base := c.fork()
	cl, _ := client(t, c, light.Config{}, honest(base))
	update(t, cl)
	c.idle(3)
	news, err := c.LightBlock(0)
	if err != nil {
		t.Fatal(err)
	}
	minority := base.fork()
	minority.signers = 2
	minority.idle(2)
	false_, err := minority.LightBlock(0)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(news)
	flipped[len(flipped)/2] ^= 1
	for _, tt := range []struct {
		name  string
		raw   []byte
		newer bool
		ok    bool
	}{
		{"news", news, true, true},
		{"what is known", old, false, true},
		{"too few signatures", false_, true, false},
		{"a flipped bit", flipped, true, false},
		{"garbage", []byte("garbage"), false, false},
		{"nothing", nil, false, false},
		{"too much", make([]byte, light.MaxReply+1), false, false},
	} {
		newer, err := cl.Offer(context.Background(), tt.raw)
		if (err == nil) != tt.ok || tt.ok && newer != tt.newer {
			t.Errorf("%s: newer %v, %v", tt.name, newer, err)
		}
	}
	if s := update(t, cl); s.Height != base.height() {
		t.Errorf("an offer moved the client to height %d", s.Height)
	}
}
