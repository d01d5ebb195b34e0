package kad_test

import (
	"io"
	"runtime"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"

	"granary/sampling/kad"
)

// Who says nothing, or stops in the middle of a request, is reset once its time
// is up, whichever protocol it opened; until then it takes no slot and next to
// no memory.
func TestHalfARequestIsResetInTime(t *testing.T) {
	server, client := pair(t, &memory{})
	serveMirror(server, 1)
	r := raw(t, server)
	protocols := []protocol.ID{helloProtocol, bundleProtocol, rowProtocol, protocol.ID(mirror.Protocol)}
	const each = 60 // of 64 that a peer may have open
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var streams []network.Stream
	for _, proto := range protocols {
		for i := range each {
			s := stream(t, r, server, proto)
			if i%2 == 0 {
				if _, err := s.Write([]byte{0x23, 0x81, 0x58}); err != nil { // 35 bytes announced, two sent
					t.Fatal(err)
				}
			}
			streams = append(streams, s)
		}
	}
	if _, err := client.Call(deadline(t), server.ID(), mirror, []byte("?")); err != nil {
		t.Errorf("call beside %d half requests: %v", len(streams), err)
	}
	runtime.GC()
	runtime.ReadMemStats(&during)
	if grown := int64(during.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("%d half requests take %d bytes, both ends together", len(streams), grown)
	}
	var wg sync.WaitGroup
	for _, s := range streams {
		wg.Go(func() {
			if reply, err := io.ReadAll(s); err == nil || len(reply) > 0 {
				t.Errorf("%s: half a request was answered with %x, %v; want a reset", s.Protocol(), reply, err)
			}
		})
	}
	wg.Wait() // the test ends when the server has given all of them up
	counted := server.Counts()
	for _, proto := range protocols {
		if n := counted[kad.Exchange{Protocol: string(proto), Side: "served", Result: "dropped"}]; n.Times != each {
			t.Errorf("%s: %d dropped, want %d", proto, n.Times, each)
		}
	}
}
