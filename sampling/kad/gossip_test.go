package kad_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/sampling/kad"
)

type heard struct {
	from peer.ID
	msg  string
}

// judge rejects what begins with "bad" and ignores what begins with "odd".
func judge(msg []byte) kad.Judgement {
	switch {
	case bytes.HasPrefix(msg, []byte("bad")):
		return kad.Reject
	case bytes.HasPrefix(msg, []byte("odd")):
		return kad.Ignore
	}
	return kad.Accept
}

// listen makes h judge what it hears and returns what it accepts.
func listen(t *testing.T, h *kad.Host) <-chan heard {
	t.Helper()
	ch := make(chan heard, 100)
	if err := h.OnAnnounce(judge, func(from peer.ID, msg []byte) { ch <- heard{from, string(msg)} }); err != nil {
		t.Fatal(err)
	}
	return ch
}

// announceUntil repeats msg until it is heard: with nobody connected yet an
// announcement is lost, as it may be.
func announceUntil(t *testing.T, h *kad.Host, msg string, ch <-chan heard) heard {
	t.Helper()
	ctx := deadline(t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := h.Announce(ctx, []byte(msg)); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-ch:
			if judge([]byte(got.msg)) != kad.Accept {
				t.Fatalf("heard %q", got.msg)
			}
			if got.msg == msg {
				return got
			}
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%q was never heard", msg)
		}
	}
}

func TestAnnouncementsReachEverybodyOnce(t *testing.T) {
	hosts := hostsOf(t, 4, false)
	var chans []<-chan heard
	for _, h := range hosts {
		chans = append(chans, listen(t, h))
	}
	for i, ch := range chans[1:] {
		if got := announceUntil(t, hosts[0], "block one", ch); got.from == hosts[i+1].ID() {
			t.Errorf("heard %+v from itself", got)
		}
	}
	// Its repetition, sent before, would come before the next one, mostly.
	for _, ch := range chans[1:] {
		if err := hosts[0].Announce(deadline(t), []byte("block one")); err != nil {
			t.Fatal(err)
		}
		ctx := deadline(t)
		if err := hosts[0].Announce(ctx, []byte("block two")); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-ch:
			if got.msg != "block two" {
				t.Errorf("heard %q again", got.msg)
			}
		case <-ctx.Done():
			t.Fatal("block two was never heard")
		}
	}
	select {
	case got := <-chans[0]:
		t.Errorf("the announcer heard %q", got.msg)
	default:
	}
}

func TestWhatTheCheckDoesNotAcceptIsNeitherHandledNorRelayed(t *testing.T) {
	// The forger has no check of its own.
	forger := open(t, config(0), &memory{})
	gate := open(t, config(1, forger), &memory{})
	behind := open(t, config(2, gate), &memory{})
	atGate, atBehind := listen(t, gate), listen(t, behind)
	announceUntil(t, forger, "good", atGate)
	announceUntil(t, forger, "also good", atBehind)
	for _, msg := range []string{"bad one", "bad two", "odd one", "odd two"} {
		if err := forger.Announce(deadline(t), []byte(msg)); err != nil {
			t.Fatal(err)
		}
	}
	for _, ch := range []<-chan heard{atGate, atBehind} {
		announceUntil(t, forger, "the end", ch)
	}
	for _, msg := range []string{"bad of its own", "odd of its own"} {
		if err := gate.Announce(deadline(t), []byte(msg)); !errors.Is(err, kad.ErrRefused) {
			t.Errorf("announce %q: %v, want ErrRefused", msg, err)
		}
	}
}

func TestAnnouncingToNobodyIsNoError(t *testing.T) {
	h := open(t, config(0), &memory{})
	for range 2 {
		if err := h.Announce(deadline(t), []byte("hello?")); err != nil {
			t.Error(err)
		}
	}
	for _, msg := range [][]byte{nil, make([]byte, kad.MaxAnnouncement+1)} {
		if err := h.Announce(deadline(t), msg); !errors.Is(err, kad.ErrRefused) {
			t.Errorf("announce %d bytes: %v, want ErrRefused", len(msg), err)
		}
	}
	listen(t, h)
	if err := h.OnAnnounce(judge, func(peer.ID, []byte) {}); err == nil {
		t.Error("a second OnAnnounce was accepted")
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Announce(context.Background(), []byte("x")); !errors.Is(err, kad.ErrClosed) {
		t.Errorf("announce on a closed host: %v, want ErrClosed", err)
	}
}

func TestTheLongestAnnouncementArrives(t *testing.T) {
	a := open(t, config(0), &memory{})
	b := open(t, config(1, a), &memory{})
	msg := string(content(kad.MaxAnnouncement))
	if got := announceUntil(t, a, msg, listen(t, b)); got.from != a.ID() {
		t.Errorf("from %s, want %s", got.from, a.ID())
	}
}

func TestAnnouncementsStayInTheirChain(t *testing.T) {
	a := open(t, config(0), &memory{})
	cfg := config(1, a)
	cfg.Chain = "granary-elsewhere"
	b := open(t, cfg, &memory{})
	c := open(t, config(2, a), &memory{})
	atB, atC := listen(t, b), listen(t, c)
	connected(t, a, b, c)
	announceUntil(t, a, "for c", atC)
	if err := b.Announce(deadline(t), []byte("for nobody")); err != nil {
		t.Fatal(err)
	}
	announceUntil(t, a, "for c again", atC)
	select {
	case got := <-atB:
		t.Errorf("b heard %+v of another chain", got)
	case got := <-atC:
		if got.msg == "for nobody" {
			t.Errorf("c heard %+v of another chain", got)
		}
	default:
	}
}
