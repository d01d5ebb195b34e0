package light_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cometbft/cometbft/types"
	"github.com/fxamacker/cbor/v2"

	"granary/ledger"
	"granary/ledger/light"
)

// line is a light.Transport on which providers may take their time.
type line map[string]func(ctx context.Context, protocol string, req []byte) ([]byte, error)

// Call implements light.Transport.
func (l line) Call(ctx context.Context, peer, protocol string, req []byte) ([]byte, error) {
	return l[peer](ctx, protocol, req)
}

func mute(ctx context.Context, _ string, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func prompt(c *synth) func(context.Context, string, []byte) ([]byte, error) {
	return func(_ context.Context, protocol string, req []byte) ([]byte, error) { return honest(c)(protocol, req) }
}

func TestSilentProvidersDelayButDoNotDecide(t *testing.T) {
	c := rich(t)
	synctest.Test(t, func(t *testing.T) {
		l := line{"good": prompt(c)}
		var silent []string
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			l[name] = mute
			silent = append(silent, name)
		}
		cl, err := light.Open(t.Context(), light.Config{Genesis: c.genesis, Now: c.now}, l)
		if err != nil {
			t.Fatal(err)
		}
		cl.SetPeers([]string{"good"})
		update(t, cl)
		cl.SetPeers(silent, []string{"good"})

		raw, err := ledger.Sign(c.genesis.ChainID, key("alice"), 2, payment())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := cl.Submit(ctx, raw); err != nil {
			t.Errorf("submit, which one accepted before time ran out: %v", err)
		}
		began := time.Now()
		if err := cl.Submit(t.Context(), raw); err != nil {
			t.Errorf("submit: %v", err)
		}
		if took := time.Since(began); took > 9*time.Second {
			t.Errorf("submit took %v", took)
		}
		began = time.Now()
		if found, err := cl.DoubleSigns(t.Context()); err != nil || len(found) != 0 {
			t.Errorf("double signs: %v, %v", found, err)
		}
		if took := time.Since(began); took > 9*time.Second {
			t.Errorf("double signs took %v", took)
		}
	})
}

// climber claims a height far away, and for every height between it has a block
// by its own validators, which it takes 3 s to give.
func climber(t *testing.T, c *synth) func(context.Context, string, []byte) ([]byte, error) {
	f := newSynth(t, 1)
	evil := newSet([]string{"evil"})
	f.sets = []validatorSet{evil, evil}
	f.header()
	return func(ctx context.Context, protocol string, req []byte) ([]byte, error) {
		var q struct {
			_    struct{} `cbor:",toarray"`
			Kind uint64
			Body cbor.RawMessage
		}
		var head struct {
			_      struct{} `cbor:",toarray"`
			Height int64
			From   uint64
		}
		if err := cbor.Unmarshal(req, &q); err != nil {
			return nil, err
		}
		if cbor.Unmarshal(q.Body, &head) != nil || q.Kind != 1 || head.Height == 1 {
			return honest(c)(protocol, req)
		}
		if head.Height == 0 {
			head.Height = 1 << 60
		} else {
			time.Sleep(3 * time.Second)
		}
		h := *f.blocks[0].Header
		h.Height, h.Time, h.LastBlockID = head.Height, c.now(), f.blocks[0].Commit.BlockID
		raw, err := encodeBlock(&types.LightBlock{SignedHeader: &types.SignedHeader{Header: &h, Commit: f.sign(&h, evil)}, ValidatorSet: evil.ValidatorSet})
		if err != nil {
			return nil, err
		}
		var r headReply
		state := f.state.Head()
		r.Block, r.Head.Size, r.Head.Root, r.Head.State, r.Consistency = raw, state.Size, state.Root, state.State, []ledger.Hash{}
		body, err := cbor.Marshal(r)
		if err != nil {
			return nil, err
		}
		return cbor.Marshal(reply{Body: body})
	}
}

func TestHeightFarAwayDoesNotKeepAnUpdate(t *testing.T) {
	c := newSynth(t, 4)
	c.idle(3)
	synctest.Test(t, func(t *testing.T) {
		l := line{"good": prompt(c), "evil": climber(t, c)}
		cl, err := light.Open(t.Context(), light.Config{Genesis: c.genesis, Now: c.now}, l)
		if err != nil {
			t.Fatal(err)
		}
		cl.SetPeers([]string{"good"}, []string{"evil"})
		began := time.Now()
		if s := update(t, cl); s.Height != c.height() || time.Since(began) > 0 {
			t.Errorf("with a fresh answer: %+v after %v, want at once", s, time.Since(began))
		}

		// With the false answer alone the way up is tried, for a while only; and a
		// second caller need not wait for that.
		cl.SetPeers([]string{"evil"})
		began = time.Now()
		done := make(chan error)
		go func() {
			_, err := cl.Update(t.Context())
			done <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := cl.Update(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("the second update: %v after %v", err, time.Since(began))
		}
		if err := <-done; !errors.Is(err, light.ErrUnreachable) || time.Since(began) > 25*time.Second {
			t.Errorf("the first update: %v after %v", err, time.Since(began))
		}
	})
}

// TestSlowLineComesOn has a client far behind whose provider takes 3 s for each
// block, and more of them than it waits for at a time. Strangers who claim a height
// far away, and show nothing, do not take from it how far it came.
func TestSlowLineComesOn(t *testing.T) {
	for _, strangers := range []int{0, 1} { // in each try
		slowLine(t, strangers)
	}
}

func slowLine(t *testing.T, strangers int) {
	c := newSynth(t, 4)
	c.idle(1)
	early := c.fork()
	for i := range 200 { // one of four is replaced every 5 heights
		c.change(names(4, i+1))
		c.idle(5)
	}
	synctest.Test(t, func(t *testing.T) {
		serving, asked := early, 0
		l := line{"slow": func(ctx context.Context, protocol string, req []byte) ([]byte, error) {
			if asked++; serving == c {
				time.Sleep(3 * time.Second)
			}
			return honest(serving)(protocol, req)
		}}
		cl, err := light.Open(t.Context(), light.Config{Genesis: c.genesis, Now: c.now}, l)
		if err != nil {
			t.Fatal(err)
		}
		cl.SetPeers([]string{"slow"})
		cl.Update(t.Context()) //nolint:errcheck // that it is stale
		serving, asked = c, 0
		tries := 0
		for s := (light.Status{}); s.Height != c.height(); tries++ {
			var liars []string
			for i := range strangers {
				name := fmt.Sprintf("stranger %d of try %d", i, tries)
				far, between := climber(t, c), 0
				l[name] = func(ctx context.Context, protocol string, req []byte) ([]byte, error) {
					if between++; between > 1 {
						return []byte("nothing"), nil
					}
					return far(ctx, protocol, req)
				}
				liars = append(liars, name)
			}
			cl.SetPeers([]string{"slow"}, liars)
			if s, err = cl.Update(t.Context()); err != nil && !errors.Is(err, light.ErrUnreachable) || tries == 200 {
				t.Fatalf("try %d: %+v, %v", tries, s, err)
			}
		}
		if tries < 3 || len(cl.Liars()) != strangers*tries {
			t.Errorf("%d tries with %d requests: not what is to be tested; liars %v", tries, asked, cl.Liars())
		}
		t.Logf("%d tries with %d requests", tries, asked)
	})
}
