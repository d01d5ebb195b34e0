package kad_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"granary/erasure"
	"granary/sampling"
	"granary/sampling/kad"
)

// pair opens a server with a custodian's hello and a client connected to it.
func pair(t testing.TB, src kad.Source) (server, client *kad.Host) {
	t.Helper()
	cfg := config(0)
	cfg.Custodian, cfg.TorrentPort = true, 4748
	server = open(t, cfg, src)
	client = open(t, config(1, server), &memory{})
	connected(t, client, server)
	return server, client
}

func TestTwoHostsTellDescribeAndServe(t *testing.T) {
	src := &memory{}
	want := src.add(t, content(200_000)) // 13 rows
	id := want.Info.ID()
	server, client := pair(t, src)
	ctx := deadline(t)

	hello, err := client.Hello(ctx, server.ID(), id)
	if err != nil {
		t.Fatal(err)
	}
	if !hello.Custodian || !hello.Known {
		t.Errorf("hello %+v: want a custodian that knows the block", hello)
	}
	if got, want := hello.Groups, sampling.Custody(chain, []byte(server.ID()), 24); got != want || got != server.Groups() {
		t.Errorf("groups %b, want %b, its own %b", got, want, server.Groups())
	}
	if got, want := hello.Torrent, netip.AddrPortFrom(ip(0), 4748); got != want {
		t.Errorf("torrent address %v, want the observed %v", got, want)
	}
	held, err := erasure.ParsePieceSet(want.Info.Geometry().Pieces(), hello.Held)
	if err != nil || held.Count() != 26 {
		t.Errorf("holds %d pieces, %v; want 26", held.Count(), err)
	}

	got, err := client.Bundle(ctx, server.ID(), id)
	if err != nil {
		t.Fatal(err)
	}
	if got.Info != want.Info || !bytes.Equal(got.Proof, want.Proof) || !bytes.Equal(got.Layers.Encode(), want.Layers.Encode()) {
		t.Error("another bundle came back")
	}

	verifier, err := erasure.NewVerifier(got.Info, got.Proof)
	if err != nil {
		t.Fatal(err)
	}
	for row := range got.Info.Geometry().Rows() {
		data, path, err := client.Row(ctx, server.ID(), id, row)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Row(row, data, path); err != nil {
			t.Error(err)
		}
	}
}

// The server sees the client at the address it was told to dial from, over
// whichever transport.
func TestDialsLeaveFromTheConfiguredAddress(t *testing.T) {
	for _, transport := range []string{"quic-v1", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			server := open(t, config(0), &memory{})
			cfg := config(1)
			for _, a := range server.Addrs() {
				if strings.Contains(a, "/"+transport+"/") {
					cfg.Bootstrap = append(cfg.Bootstrap, a)
				}
			}
			client := open(t, cfg, &memory{})
			connected(t, server, client)
			p := server.Peers()[0]
			if want := "/ip4/" + ip(1).String() + "/"; !strings.HasPrefix(p.Addr, want) || !p.Inbound {
				t.Errorf("client seen as %+v, want inbound from %s…", p, want)
			}
			waitFor(t, "the client's name", func() bool { return server.Peers()[0].Agent == "granary" })
		})
	}
}

func TestHelloWithoutBlockSaysNothingOfBlocks(t *testing.T) {
	src := &memory{}
	src.add(t, content(1))
	server, client := pair(t, src)
	hello, err := client.Hello(deadline(t), server.ID(), erasure.ID{})
	if err != nil || hello.Known || len(hello.Held) != 0 {
		t.Errorf("hello %+v, %v", hello, err)
	}
	waitFor(t, "hello among the peers", func() bool {
		peers := client.Peers()
		return len(peers) == 1 && peers[0].Hello != nil && peers[0].Hello.Custodian
	})
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "peer to be gone", func() bool { return len(client.Peers()) == 0 })
	if _, err := client.Hello(deadline(t), server.ID(), erasure.ID{}); !errors.Is(err, kad.ErrUnreachable) {
		t.Errorf("hello to a peer that is gone: %v, want ErrUnreachable", err)
	}
}

func TestWhatIsNotServedIsSaidToBe(t *testing.T) {
	src := &memory{}
	b := src.add(t, content(100))
	id, unknown := b.Info.ID(), erasure.ID{1}
	server, client := pair(t, src)
	ctx := deadline(t)

	hello, err := client.Hello(ctx, server.ID(), unknown)
	if err != nil || hello.Known || len(hello.Held) != 0 {
		t.Errorf("hello about an unknown block: %+v, %v", hello, err)
	}
	if _, err := client.Bundle(ctx, server.ID(), unknown); !errors.Is(err, kad.ErrNotHeld) {
		t.Errorf("unknown bundle: %v, want ErrNotHeld", err)
	}
	if _, _, err := client.Row(ctx, server.ID(), unknown, 0); !errors.Is(err, kad.ErrNotHeld) {
		t.Errorf("row of an unknown block: %v, want ErrNotHeld", err)
	}
	if _, _, err := client.Row(ctx, server.ID(), id, 2); !errors.Is(err, kad.ErrNotHeld) {
		t.Errorf("row beyond the block: %v, want ErrNotHeld", err)
	}
	for _, row := range []int{-1, 2 * erasure.MaxContentRows} {
		if _, _, err := client.Row(ctx, server.ID(), id, row); err == nil {
			t.Errorf("row %d was served", row)
		}
	}
	for _, c := range []struct{ says, want error }{
		{kad.ErrPending, kad.ErrPending},
		{errors.New("disk on fire"), kad.ErrBusy},
	} {
		src.mu.Lock()
		src.err = c.says
		src.mu.Unlock()
		if _, _, err := client.Row(ctx, server.ID(), id, 0); !errors.Is(err, c.want) {
			t.Errorf("row when the source says %v: %v, want %v", c.says, err, c.want)
		}
	}
}

func TestBundleWithoutProofIsPending(t *testing.T) {
	src := &memory{}
	b := src.add(t, content(100))
	id := b.Info.ID()
	src.blocks[id].bundle.Proof = nil
	server, client := pair(t, src)
	if _, err := client.Bundle(deadline(t), server.ID(), id); !errors.Is(err, kad.ErrPending) {
		t.Errorf("bundle: %v, want ErrPending", err)
	}
	hello, err := client.Hello(deadline(t), server.ID(), id)
	if err != nil || hello.Known || len(hello.Held) == 0 {
		t.Errorf("hello %+v, %v: want unknown but held", hello, err)
	}
}

func TestBundleOfAnotherBlockIsRefused(t *testing.T) {
	src := &memory{}
	a, b := src.add(t, content(100)), src.add(t, content(200))
	src.blocks[a.Info.ID()].bundle = b
	server, client := pair(t, src)
	if _, err := client.Bundle(deadline(t), server.ID(), a.Info.ID()); !errors.Is(err, kad.ErrProtocol) {
		t.Errorf("bundle: %v, want ErrProtocol", err)
	}
	src.mu.Lock()
	forged := a
	forged.Proof = bytes.Clone(a.Proof)
	forged.Proof[0] ^= 1
	src.blocks[a.Info.ID()].bundle = forged
	src.mu.Unlock()
	if _, err := client.Bundle(deadline(t), server.ID(), a.Info.ID()); !errors.Is(err, kad.ErrProtocol) {
		t.Errorf("bundle with a forged proof: %v, want ErrProtocol", err)
	}
}

func TestNodesOfAnotherChainAreToldSo(t *testing.T) {
	server := open(t, config(0), &memory{})
	cfg := config(1, server)
	cfg.Chain = "granary-elsewhere"
	client := open(t, cfg, &memory{})
	connected(t, client, server)
	if _, err := client.Hello(deadline(t), server.ID(), erasure.ID{}); !errors.Is(err, kad.ErrOtherChain) {
		t.Errorf("hello: %v, want ErrOtherChain", err)
	}
	if p := client.Peers(); len(p) != 1 || p[0].Hello != nil {
		t.Errorf("peers %+v: want one that said no hello", p)
	}
}

func TestAFloodIsAnsweredBusyBeforeAnythingIsRead(t *testing.T) {
	src := &memory{}
	id := src.add(t, content(100)).Info.ID()
	server, client := pair(t, src)
	ctx := deadline(t)
	const asks = 1200 // the bucket holds 512
	var (
		wg              sync.WaitGroup
		mu              sync.Mutex // guards served, busy
		served, refused int
		slots           = make(chan struct{}, 16)
	)
	for range asks {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			_, _, err := client.Row(ctx, server.ID(), id, 0)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				served++
			case errors.Is(err, kad.ErrBusy):
				refused++
			default:
				t.Errorf("row: %v", err)
			}
		})
	}
	wg.Wait()
	if refused == 0 || served < 512 || served+refused != asks {
		t.Errorf("%d served and %d busy of %d", served, refused, asks)
	}
	if n := src.rowReads(); n != served {
		t.Errorf("%d rows read for %d served", n, served)
	}
}

func TestMoreThanTheSlotsAreBusy(t *testing.T) {
	src := &memory{gate: make(chan struct{})}
	id := src.add(t, content(100)).Info.ID()
	server, client := pair(t, src)
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, _, err := client.Row(ctx, server.ID(), id, 0); err != nil {
				t.Errorf("row: %v", err)
			}
		})
	}
	waitFor(t, "all slots taken", func() bool { return src.rowReads() == 32 })
	if _, _, err := client.Row(ctx, server.ID(), id, 0); !errors.Is(err, kad.ErrBusy) {
		t.Errorf("row beyond the slots: %v, want ErrBusy", err)
	}
	close(src.gate)
	wg.Wait()
	if _, _, err := client.Row(ctx, server.ID(), id, 0); err == nil {
		return
	}
	waitFor(t, "a slot to be free", func() bool {
		_, _, err := client.Row(ctx, server.ID(), id, 0)
		return err == nil
	})
}

func TestAskingEndsWithItsContext(t *testing.T) {
	src := &memory{gate: make(chan struct{})}
	id := src.add(t, content(100)).Info.ID()
	server, client := pair(t, src)
	ctx, cancel := context.WithCancel(deadline(t))
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, _, err := client.Row(ctx, server.ID(), id, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("row: %v, want context.Canceled", err)
		}
	})
	waitFor(t, "the row to be asked for", func() bool { return src.rowReads() == 1 })
	cancel()
	wg.Wait()
	close(src.gate)
}

// Outside a devnet loopback addresses count for nothing in the DHT, but peers
// that were told them talk.
func TestHostsOutsideADevnetTalk(t *testing.T) {
	cfg := config(0)
	cfg.Devnet = false
	server := open(t, cfg, &memory{})
	cfg = config(1, server)
	cfg.Devnet = false
	client := open(t, cfg, &memory{})
	connected(t, client, server)
	if _, err := client.Hello(deadline(t), server.ID(), erasure.ID{}); err != nil {
		t.Error(err)
	}
}

func TestHostsListenOnIPv6AndOnAllAddresses(t *testing.T) {
	for _, addr := range []netip.Addr{netip.IPv6Loopback(), {}} {
		t.Run(addr.String(), func(t *testing.T) {
			if l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0))); err != nil {
				t.Skip(err) // no IPv6 here
			} else if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			cfg := config(0)
			cfg.IP, cfg.TorrentPort = addr, 4748
			server := open(t, cfg, &memory{})
			cfg = config(1, server)
			cfg.IP = addr
			client := open(t, cfg, &memory{})
			connected(t, client, server)
			hello, err := client.Hello(deadline(t), server.ID(), erasure.ID{})
			if err != nil || !hello.Torrent.Addr().IsLoopback() && addr.IsValid() {
				t.Errorf("hello %+v, %v", hello, err)
			}
		})
	}
}
