package kad_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"granary/sampling/kad"
)

// A protocol of another package.
var mirror = kad.Service{Protocol: "/granary/mirror/1.0.0", MaxRequest: 1000, MaxReply: 100_000, Tokens: 8}

// serveMirror answers each request with itself, repeated up to n bytes.
func serveMirror(h *kad.Host, n int) {
	h.Serve(mirror, func(_ context.Context, _ peer.ID, request []byte) []byte {
		return bytes.Repeat(request, max(1, n/len(request)))
	})
}

func TestACallIsAnswered(t *testing.T) {
	server, client := pair(t, &memory{})
	var mu sync.Mutex // guards from
	var from []peer.ID
	server.Serve(mirror, func(ctx context.Context, p peer.ID, request []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		from = append(from, p)
		if until, ok := ctx.Deadline(); !ok || time.Until(until) > 10*time.Second {
			t.Errorf("deadline %v, %v", until, ok)
		}
		return append([]byte("re: "), request...)
	})
	for _, request := range []string{"", "a", string(content(mirror.MaxRequest))} {
		reply, err := client.Call(deadline(t), server.ID(), mirror, []byte(request))
		if got, want := string(reply), "re: "+request; err != nil || got != want {
			t.Errorf("reply %.20q, %v; want %.20q", got, err, want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, p := range from {
		if p != client.ID() {
			t.Errorf("asked by %s, want %s", p, client.ID())
		}
	}
}

func TestTheLongestReplyArrivesAndNoLonger(t *testing.T) {
	server, client := pair(t, &memory{})
	serveMirror(server, mirror.MaxReply)
	reply, err := client.Call(deadline(t), server.ID(), mirror, []byte("abcd"))
	if err != nil || len(reply) != mirror.MaxReply {
		t.Errorf("reply of %d bytes, %v; want %d", len(reply), err, mirror.MaxReply)
	}
	// What is too long for its own service is not sent.
	serveMirror(server, mirror.MaxReply+4)
	if _, err := client.Call(deadline(t), server.ID(), mirror, []byte("abcd")); !errors.Is(err, kad.ErrBusy) {
		t.Errorf("call: %v, want ErrBusy", err)
	}
	less := mirror
	less.MaxReply = 99
	serveMirror(server, 100)
	if _, err := client.Call(deadline(t), server.ID(), less, []byte("abcd")); !errors.Is(err, kad.ErrProtocol) {
		t.Errorf("call that expects less: %v, want ErrProtocol", err)
	}
}

func TestARequestTooLongIsNeitherSentNorAnswered(t *testing.T) {
	server, client := pair(t, &memory{})
	server.Serve(mirror, func(_ context.Context, _ peer.ID, request []byte) []byte {
		t.Errorf("asked with %d bytes", len(request))
		return request
	})
	request := content(mirror.MaxRequest + 1)
	if _, err := client.Call(deadline(t), server.ID(), mirror, request); err == nil {
		t.Error("a request too long was sent")
	}
	more := mirror
	more.MaxRequest++
	_, err := client.Call(deadline(t), server.ID(), more, request)
	if err == nil || errors.Is(err, kad.ErrBusy) || errors.Is(err, kad.ErrProtocol) {
		t.Errorf("call: %v, want another error", err)
	}
}

func TestServedGarbageIsReset(t *testing.T) {
	server, client := pair(t, &memory{})
	server.Serve(mirror, func(_ context.Context, _ peer.ID, request []byte) []byte {
		if string(request) != "sense" {
			t.Errorf("asked %q", request)
		}
		return request
	})
	r := raw(t, server)
	for _, garbage := range [][]byte{
		nil,                               // no length
		{0x80},                            // half a length
		{0x80, 0x00},                      // a length that is not minimal
		bytes.Repeat([]byte{0xff}, 20),    // no number
		{0xff, 0xff, 0xff, 0xff, 0x7f, 1}, // 32 GiB announced
		{0xe9, 0x07, 1},                   // 1,001 bytes announced
		{5, 's', 'e', 'n', 's'},           // too little sent
	} {
		s := stream(t, r, server, protocol.ID(mirror.Protocol))
		if _, err := s.Write(garbage); err != nil {
			t.Fatal(err)
		}
		_ = s.CloseWrite()
		if reply, err := io.ReadAll(s); err == nil || len(reply) > 0 {
			t.Errorf("%x was answered with %x, %v; want a reset", garbage, reply, err)
		}
	}
	if _, err := client.Call(deadline(t), server.ID(), mirror, []byte("sense")); err != nil {
		t.Errorf("call after the garbage: %v", err)
	}
}

func TestRepliesToCallsAreJudged(t *testing.T) {
	h := open(t, config(0), &memory{})
	r := raw(t, h)
	for _, c := range []struct {
		name  string
		reply []byte
		want  error // nil: none of ours
	}{
		{"busy", []byte{0}, kad.ErrBusy},
		{"too long", []byte{0xff, 0xff, 0xff, 0x7f}, kad.ErrProtocol},
		{"length that is not minimal", []byte{0x80, 0x00}, kad.ErrProtocol},
		{"length that is no number", bytes.Repeat([]byte{0xff}, 20), kad.ErrProtocol},
		{"nothing", nil, nil},
		{"half", []byte{2, 1}, nil},
	} {
		r.SetStreamHandler(protocol.ID(mirror.Protocol), func(s network.Stream) {
			_, _ = io.ReadFull(s, make([]byte, 2))
			_, _ = s.Write(c.reply)
			_ = s.Close()
		})
		_, err := h.Call(deadline(t), r.ID(), mirror, []byte("?"))
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		for _, not := range []error{kad.ErrBusy, kad.ErrProtocol, kad.ErrUnreachable} {
			if not != c.want && errors.Is(err, not) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
}

func TestAFloodOfCallsIsAnsweredBusy(t *testing.T) {
	server, client := pair(t, &memory{})
	serveMirror(server, 1)
	served := 0
	for {
		_, err := client.Call(deadline(t), server.ID(), mirror, []byte("?"))
		if errors.Is(err, kad.ErrBusy) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		served++
	}
	if want := 512 / mirror.Tokens; served < want {
		t.Errorf("busy after %d calls, want at least %d", served, want)
	}
}

// A slot is held until the reply is taken: the others are told busy, whatever
// they ask.
func TestRepliesThatNobodyTakesKeepTheirSlots(t *testing.T) {
	server, client := pair(t, &memory{})
	large := kad.Service{Protocol: mirror.Protocol, MaxRequest: 1, MaxReply: 16 << 20, Tokens: 1}
	var mu sync.Mutex // guards asked
	asked := 0
	server.Serve(large, func(context.Context, peer.ID, []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return make([]byte, large.MaxReply) // more than any window
	})
	r := raw(t, server)
	var streams []network.Stream
	for range 32 {
		s := stream(t, r, server, protocol.ID(large.Protocol))
		if _, err := s.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
		streams = append(streams, s)
	}
	waitFor(t, "all replies to be on their way", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return asked == len(streams)
	})
	if _, err := client.Call(deadline(t), server.ID(), large, nil); !errors.Is(err, kad.ErrBusy) {
		t.Errorf("call: %v, want ErrBusy", err)
	}
	for _, s := range streams {
		_ = s.Reset()
	}
	waitFor(t, "a slot", func() bool {
		_, err := client.Call(deadline(t), server.ID(), large, nil)
		return err == nil
	})
}

func TestCallingWhoDoesNotServeIsAnError(t *testing.T) {
	server, client := pair(t, &memory{})
	_, err := client.Call(deadline(t), server.ID(), mirror, nil)
	if err == nil {
		t.Fatal("answered by nobody")
	}
	for _, not := range []error{kad.ErrBusy, kad.ErrProtocol, kad.ErrUnreachable} {
		if errors.Is(err, not) {
			t.Errorf("peer without the protocol: %v", err)
		}
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "peer to be gone", func() bool { return len(client.Peers()) == 0 })
	if _, err := client.Call(deadline(t), server.ID(), mirror, nil); !errors.Is(err, kad.ErrUnreachable) {
		t.Errorf("peer that is gone: %v, want ErrUnreachable", err)
	}
}

// hang serves requests that last as long as the server does. asked is sent to
// once for each.
func hang(h *kad.Host) (asked <-chan struct{}) {
	ch := make(chan struct{}, 100)
	h.Serve(mirror, func(ctx context.Context, _ peer.ID, _ []byte) []byte {
		ch <- struct{}{}
		<-ctx.Done()
		return nil
	})
	return ch
}

func TestACallEndsWithItsContext(t *testing.T) {
	server, client := pair(t, &memory{})
	asked := hang(server)
	ctx, cancel := context.WithCancel(deadline(t))
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := client.Call(ctx, server.ID(), mirror, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("call: %v, want context.Canceled", err)
		}
	})
	<-asked
	cancel()
	wg.Wait()
}

func TestACallEndsWithEitherHost(t *testing.T) {
	for _, closing := range []string{"client", "server"} {
		t.Run(closing, func(t *testing.T) {
			server, client := pair(t, &memory{})
			asked := hang(server)
			result := make(chan error, 1)
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := client.Call(deadline(t), server.ID(), mirror, nil)
				result <- err
			})
			<-asked
			began := time.Now()
			h := server
			if closing == "client" {
				h = client
			}
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			err := <-result
			wg.Wait()
			if err == nil || closing == "client" && !errors.Is(err, kad.ErrClosed) {
				t.Errorf("call: %v", err)
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("closing took %v", took)
			}
			if _, err := h.Call(deadline(t), server.ID(), mirror, nil); !errors.Is(err, kad.ErrClosed) {
				t.Errorf("call on a closed host: %v, want ErrClosed", err)
			}
		})
	}
}
