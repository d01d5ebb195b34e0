package light_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"granary/ledger"
	"granary/ledger/light"
)

// FuzzServe: a server answers everything, shortly, and never panics.
func FuzzServe(f *testing.F) {
	c := newSynth(f, 4)
	c.publish("a")
	c.evidence = [][]byte{signedTwice(f, c.genesis.ChainID, 0).Bytes()}
	cl, w := client(f, c, light.Config{}, func(protocol string, req []byte) ([]byte, error) {
		f.Add(req)
		return honest(c)(protocol, req)
	})
	exercise(f.Context(), cl)
	if w.calls < 6 {
		f.Fatalf("%d requests", w.calls)
	}
	f.Fuzz(func(t *testing.T, req []byte) {
		if got := light.Serve(c, req); len(got) < 1 || len(got) > light.MaxReply {
			t.Errorf("reply of %d bytes", len(got))
		}
		if got := light.ServeTx(t.Context(), c, req); len(got) < 1 || len(got) > 1<<10 {
			t.Errorf("transaction reply of %d bytes", len(got))
		}
	})
}

// FuzzReplies: whatever a provider replies, a client does not panic, and what it
// believes is true.
func FuzzReplies(f *testing.F) {
	c := newSynth(f, 4)
	c.publish("a")
	c.evidence = [][]byte{signedTwice(f, c.genesis.ChainID, 0).Bytes()}
	number := 0
	cl, _ := client(f, c, light.Config{}, func(protocol string, req []byte) ([]byte, error) {
		raw, err := honest(c)(protocol, req)
		f.Add(raw, number)
		number++
		return raw, err
	})
	exercise(f.Context(), cl)
	f.Fuzz(func(t *testing.T, raw []byte, number int) {
		call := 0
		cl, _ := client(t, c, light.Config{}, func(protocol string, req []byte) ([]byte, error) {
			call++
			if call-1 == number {
				return raw, nil
			}
			return honest(c)(protocol, req)
		})
		found := exercise(t.Context(), cl)
		if h, _ := cl.Head(); h.Size > 0 && h != c.state.Head() {
			if at, err := c.state.HeadAt(0); err != nil || h != at {
				t.Errorf("head %+v, the chain has %+v", h, c.state.Head())
			}
		}
		if found.Status == ledger.Certified && found.Outcome.Outcome.Announcement != found.Index {
			t.Errorf("found %+v", found)
		}
	})
}

// FuzzOffer: light blocks from anybody.
func FuzzOffer(f *testing.F) {
	c := newSynth(f, 4)
	c.idle(3)
	base := c.fork()
	c.idle(2)
	for h := range int64(6) {
		raw, err := c.LightBlock(h)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	cl, _ := client(f, base, light.Config{}, honest(base))
	if _, err := cl.Update(f.Context()); err != nil {
		f.Fatal(err)
	}
	good := make(map[string]bool)
	for h := base.height() + 1; h <= c.height(); h++ {
		raw, err := c.LightBlock(h)
		if err != nil {
			f.Fatal(err)
		}
		good[string(raw)] = true
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		newer, err := cl.Offer(context.Background(), raw)
		if !newer || err != nil || good[string(raw)] {
			return
		}
		// Another encoding of a true block is true as well.
		if s, err := cl.Offer(context.Background(), raw); !s || err != nil {
			t.Error("an offer is judged twice in two ways")
		}
	})
}

// exercise makes a client ask everything that it can.
func exercise(ctx context.Context, cl *light.Client) light.Found {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	cl.Update(ctx)                      //nolint:errcheck // errors are expected here, and below
	cl.Entries(ctx, 0, 3)               //nolint:errcheck
	cl.Network(ctx)                     //nolint:errcheck
	cl.DoubleSigns(ctx)                 //nolint:errcheck
	cl.Account(ctx, ledger.PublicKey{}) //nolint:errcheck
	who := ledger.KeyOf(key("publisher of a"))
	if a, err := cl.Account(ctx, who); err == nil {
		cl.AccountHistory(ctx, who, a) //nolint:errcheck
	}
	found, _ := cl.Find(ctx, record("a").ID())
	return found
}

// FuzzFiles: whatever is in a client's files, it opens or says what is wrong; what
// it shows of a fork then, providers can be told.
func FuzzFiles(f *testing.F) {
	c := newSynth(f, 4)
	c.publish("a")
	evil := c.fork()
	c.publish("b")
	evil.publish("c")
	seed := func(name string, providers ...provider) {
		dir := f.TempDir()
		cl, _ := client(f, c, light.Config{Dir: dir}, providers...)
		cl.Update(f.Context()) //nolint:errcheck // a fork is one
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	seed("trusted", honest(c))
	seed("forked", honest(c), honest(evil))
	dirs := map[string]string{"trusted": f.TempDir(), "forked": f.TempDir()}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for name, dir := range dirs {
			if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
				t.Fatal(err)
			}
			cl, err := light.Open(t.Context(), light.Config{Genesis: c.genesis, Dir: dir, Now: c.now}, &world{providers: map[string]provider{"p": honest(c)}})
			if err != nil {
				continue
			}
			cl.Head()
			cl.Checkpoint()
			if name == "forked" {
				cl.SetPeers([]string{"p"})
				if _, err := cl.Update(t.Context()); !errors.Is(err, light.ErrForked) {
					t.Errorf("with evidence of a fork: %v", err)
				}
			}
		}
	})
}

// FuzzParseCheckpoint: what is read is written the same.
func FuzzParseCheckpoint(f *testing.F) {
	f.Add("12:" + ledger.Hash{1}.String())
	f.Add("-1:00")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := light.ParseCheckpoint(s); err == nil && p.String() != s {
			t.Errorf("%q is read as %s", s, p)
		}
	})
}
