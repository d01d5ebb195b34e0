package kad_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"granary/erasure"
	"granary/sampling/kad"
)

const (
	helloProtocol  protocol.ID = "/granary/hello/1.0.0"
	bundleProtocol protocol.ID = "/granary/block/1.0.0"
	rowProtocol    protocol.ID = "/granary/row/1.0.0"
)

// raw is a libp2p host that keeps to no rule of ours, connected to h.
func raw(t *testing.T, h *kad.Host) host.Host {
	t.Helper()
	r, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableMetrics(), libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	for _, a := range h.Addrs() {
		info, err := peer.AddrInfoFromString(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Connect(deadline(t), *info); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func stream(t *testing.T, from host.Host, to *kad.Host, proto protocol.ID) network.Stream {
	t.Helper()
	s, err := from.NewStream(deadline(t), to.ID(), proto)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Reset() })
	return s
}

func TestGarbageIsResetAndHarmless(t *testing.T) {
	src := &memory{}
	id := src.add(t, content(100)).Info.ID()
	server, client := pair(t, src)
	r := raw(t, server)
	garbage := [][]byte{
		{0},                            // an empty message
		{0xff, 0xff, 0xff, 0xff, 0x7f}, // 32 GiB announced
		append([]byte{0x81, 0x02}, content(257)...), // longer than any request
		append([]byte{0x80, 0x00}, 0),               // a length that is not minimal
		append([]byte{40}, content(40)...),          // not CBOR
		append([]byte{3}, 0x82, 0x9f, 0xff),         // indefinite
		append([]byte{1}, 0x80),                     // an empty array
		append([]byte{5}, 0x1b, 0xff, 0xff, 0xff, 0xff),
	}
	for _, proto := range []protocol.ID{helloProtocol, bundleProtocol, rowProtocol} {
		for _, g := range garbage {
			s := stream(t, r, server, proto)
			if _, err := s.Write(g); err != nil {
				t.Fatal(err)
			}
			_ = s.CloseWrite()
			if reply, err := io.ReadAll(s); err == nil || len(reply) > 0 {
				t.Errorf("%s: %x was answered with %x, %v; want a reset", proto, g[:min(len(g), 8)], reply, err)
			}
		}
	}
	if _, _, err := client.Row(deadline(t), server.ID(), id, 0); err != nil {
		t.Errorf("row after the garbage: %v", err)
	}
	if n := src.rowReads(); n != 1 {
		t.Errorf("%d rows read, want the client's only", n)
	}
}

// Peers that send half a request, or do not read their reply, keep nobody from
// being served and the host from closing.
func TestSlowPeersKeepNobodyWaiting(t *testing.T) {
	src := &memory{}
	id := src.add(t, content(2_000_000)).Info.ID()
	server, client := pair(t, src)
	r := raw(t, server)
	request := append([]byte{0x23, 0x81, 0x58, 0x20}, id[:]...)
	for range 40 {
		half := stream(t, r, server, rowProtocol)
		if _, err := half.Write(request[:10]); err != nil {
			t.Fatal(err)
		}
		unread := stream(t, r, server, bundleProtocol)
		if _, err := unread.Write(request); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "a row", func() bool {
		_, _, err := client.Row(deadline(t), server.ID(), id, 0)
		if err != nil && !errors.Is(err, kad.ErrBusy) {
			t.Fatalf("row: %v", err)
		}
		return err == nil
	})
	began := time.Now()
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("closing took %v", took)
	}
}

func TestRepliesThatAreNoneAreRefused(t *testing.T) {
	h := open(t, config(0), &memory{})
	r := raw(t, h)
	id := erasure.ID{1}
	for name, reply := range map[string][]byte{
		"random bytes":     append([]byte{40}, content(40)...),
		"too long":         {0xff, 0xff, 0xff, 0x7f},
		"unknown status":   {4, 0x83, 0x17, 0x40, 0x40},
		"empty array":      {1, 0x80},
		"ok without a row": {4, 0x83, 0x00, 0x40, 0x40},
	} {
		for _, proto := range []protocol.ID{helloProtocol, bundleProtocol, rowProtocol} {
			r.SetStreamHandler(proto, func(s network.Stream) {
				_, _ = s.Write(reply)
				_ = s.Close()
			})
		}
		if _, err := h.Hello(deadline(t), r.ID(), id); !errors.Is(err, kad.ErrProtocol) {
			t.Errorf("%s: hello %v, want ErrProtocol", name, err)
		}
		if _, err := h.Bundle(deadline(t), r.ID(), id); !errors.Is(err, kad.ErrProtocol) {
			t.Errorf("%s: bundle %v, want ErrProtocol", name, err)
		}
		if _, _, err := h.Row(deadline(t), r.ID(), id, 0); !errors.Is(err, kad.ErrProtocol) {
			t.Errorf("%s: row %v, want ErrProtocol", name, err)
		}
	}
	r.SetStreamHandler(rowProtocol, func(s network.Stream) { _ = s.Reset() })
	if _, _, err := h.Row(deadline(t), r.ID(), id, 0); err == nil || errors.Is(err, kad.ErrProtocol) {
		t.Errorf("row on a reset stream: %v, want another error", err)
	}
}

// A connection to a machine that died stays for half a minute, and everybody
// would wait for it: as good as a peer that does not answer.
func TestASilentPeerIsDisconnected(t *testing.T) {
	t.Parallel()
	h := open(t, config(0), &memory{})
	r := raw(t, h)
	r.SetStreamHandler(helloProtocol, func(s network.Stream) { _, _ = io.ReadAll(s) })
	if _, err := h.Hello(deadline(t), r.ID(), erasure.ID{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hello: %v, want context.DeadlineExceeded", err)
	}
	if peers := h.Peers(); len(peers) != 0 {
		t.Errorf("still connected to %+v", peers)
	}
}

// rawGossip joins the topic of the chain without any check.
func rawGossip(t *testing.T, r host.Host, opts ...pubsub.Option) (*pubsub.Topic, *pubsub.Subscription) {
	t.Helper()
	ps, err := pubsub.NewGossipSub(t.Context(), r, append(opts,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(func(m *pb.Message) string {
			sum := sha256.Sum256(m.GetData())
			return string(sum[:])
		}))...)
	if err != nil {
		t.Fatal(err)
	}
	topic, err := ps.Join("/granary/announce/1.0.0/" + chain)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := topic.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	return topic, sub
}

// A node between two peers that know only it relays what is valid, once, and
// nothing else.
func TestANodeRelaysWhatIsValidOnce(t *testing.T) {
	node := open(t, config(0), &memory{})
	heardAtNode := listen(t, node)
	from, fromSub := rawGossip(t, raw(t, node))
	_, to := rawGossip(t, raw(t, node))
	defer fromSub.Cancel()

	nonce := byte(0)
	send := func(msg string) {
		nonce++
		if err := from.Publish(deadline(t), append([]byte{nonce, 0, 0, 0, 0, 0, 0, 0}, msg...)); err != nil {
			t.Fatal(err)
		}
	}
	var (
		mu      sync.Mutex // guards relayed
		relayed []string
		done    = make(chan struct{})
	)
	go func() {
		defer close(done)
		for {
			m, err := to.Next(t.Context())
			if err != nil {
				return
			}
			mu.Lock()
			relayed = append(relayed, string(m.GetData()[8:]))
			mu.Unlock()
		}
	}()
	t.Cleanup(func() { to.Cancel(); <-done })
	has := func(msg string) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			for _, got := range relayed {
				if got == msg {
					return true
				}
			}
			return false
		}
	}
	// Until the three know each other's subscriptions.
	n := 0
	waitFor(t, "a first announcement", func() bool {
		n++
		send("first " + string(rune('0'+n%10)) + string(rune('0'+n/10%10)) + string(rune('0'+n/100)))
		mu.Lock()
		defer mu.Unlock()
		return len(relayed) > 0
	})
	send("good")
	waitFor(t, "good to be relayed", has("good"))
	for range 3 {
		send("good")     // repeated
		send("bad news") // rejected
		send("odd news") // ignored
	}
	if err := from.Publish(deadline(t), []byte("12345678")); err != nil { // no announcement at all
		t.Fatal(err)
	}
	node2 := []byte("last, from the node")
	if err := node.Announce(deadline(t), node2); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the last", has(string(node2)))
	times := 0
	mu.Lock()
	for _, got := range relayed {
		if got == "good" {
			times++
		}
		if got == "" || judge([]byte(got)) != kad.Accept {
			t.Errorf("%q was relayed", got)
		}
	}
	mu.Unlock()
	if times != 1 {
		t.Errorf("one announcement was relayed %d times", times)
	}
	for {
		select {
		case got := <-heardAtNode:
			if got.msg == "good" {
				times--
			}
			continue
		default:
		}
		break
	}
	if times != 0 {
		t.Errorf("one announcement was handled %d times", 1-times)
	}
}

// prunes tells when a peer excludes us from its mesh.
type prunes chan struct{}

func (p prunes) Trace(e *pb.TraceEvent) {
	if e.GetType() == pb.TraceEvent_PRUNE {
		p <- struct{}{}
	}
}

func TestPeersLoseStandingByWhatIsRejectedOnly(t *testing.T) {
	t.Parallel()
	node := open(t, config(0), &memory{})
	ch := listen(t, node)
	pruned := make(prunes, 100)
	topic, sub := rawGossip(t, raw(t, node), pubsub.WithEventTracer(pruned))
	defer sub.Cancel()
	n := 0
	send := func(msg string) {
		n++
		if err := topic.Publish(deadline(t), fmt.Appendf(nil, "%08d%s %d", n, msg, n)); err != nil {
			t.Fatal(err)
		}
	}
	hears := func(msg string) func() bool {
		return func() bool {
			send(msg)
			select {
			case got := <-ch:
				return strings.HasPrefix(got.msg, msg)
			default:
				return false
			}
		}
	}
	waitFor(t, "a first announcement", hears("first"))
	for range 50 {
		send("odd")
	}
	waitFor(t, "one behind the odd ones", hears("last"))
	if len(pruned) > 0 {
		t.Error("pruned for what is ignored")
	}
	waitFor(t, "to be pruned for bad ones", func() bool {
		send("bad")
		return len(pruned) > 0
	})
}

// A node that lags behind takes up later what it could not judge.
func TestWhatWasIgnoredIsJudgedAgainWhenRepeated(t *testing.T) {
	from := open(t, config(0), &memory{})
	to := open(t, config(1, from), &memory{})
	var judged atomic.Int32
	ch := make(chan string, 10)
	if err := to.OnAnnounce(
		func([]byte) kad.Judgement {
			if judged.Add(1) <= 2 {
				return kad.Ignore
			}
			return kad.Accept
		},
		func(_ peer.ID, msg []byte) { ch <- string(msg) }); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the announcement", func() bool {
		if err := from.Announce(deadline(t), []byte("head")); err != nil {
			t.Fatal(err)
		}
		return len(ch) > 0
	})
	if n := judged.Load(); n < 3 {
		t.Errorf("heard after %d judgements", n)
	}
}
