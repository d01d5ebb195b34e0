package kad_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/erasure"
	"granary/sampling"
	"granary/sampling/kad"
)

// hostsOf opens n hosts that all know the first.
func hostsOf(t testing.TB, n int, custodian bool) []*kad.Host {
	t.Helper()
	var hosts []*kad.Host
	for i := range n {
		cfg := config(i, hosts[:min(i, 1)]...)
		cfg.Custodian = custodian
		hosts = append(hosts, open(t, cfg, &memory{}))
	}
	return hosts
}

func others(hosts []*kad.Host, but *kad.Host) []*kad.Host {
	return slices.DeleteFunc(slices.Clone(hosts), func(h *kad.Host) bool { return h == but })
}

func ids(hosts []*kad.Host) []peer.ID {
	var ids []peer.ID
	for _, h := range hosts {
		ids = append(ids, h.ID())
	}
	slices.Sort(ids)
	return ids
}

func TestSevenHostsFindEachOtherAsCustodians(t *testing.T) {
	began := time.Now()
	hosts := hostsOf(t, 7, true)
	opened := time.Since(began)
	for _, h := range hosts {
		want := ids(others(hosts, h))
		var got []kad.Holder
		waitFor(t, "all custodians", func() bool {
			var err error
			if got, err = h.Custodians(t.Context()); err != nil && !errors.Is(err, kad.ErrNoPeers) {
				t.Fatal(err)
			}
			return len(got) == len(want)
		})
		for i, holder := range got {
			if holder.Peer != want[i] || holder.Groups != sampling.Custody(chain, []byte(want[i]), 24) || holder.Block {
				t.Errorf("custodian %+v, want %s with its groups", holder, want[i])
			}
		}
	}
	t.Logf("7 hosts opened in %v, each found the 6 others by DHT lookups after %v", opened, time.Since(began))

	for holder := range hosts[6].FindHolders(deadline(t), erasure.ID{1}) {
		if holder.Groups == 0 || holder.Block {
			t.Errorf("holder of an unknown block: %+v, want a custodian only", holder)
		}
	}
}

func TestABlockIsFoundUnderItsKey(t *testing.T) {
	hosts := hostsOf(t, 7, false)
	id := erasure.ID{1, 2, 3}
	hosts[3].ProvideBlock(id)
	hosts[3].ProvideBlock(id) // costs nothing
	for _, h := range others(hosts, hosts[3]) {
		waitFor(t, "the holder", func() bool {
			found := collect(deadline(t), h, id)
			return len(found) == 1 && found[0] == (kad.Holder{Peer: hosts[3].ID(), Block: true})
		})
	}
	if found := collect(deadline(t), hosts[3], id); len(found) != 0 {
		t.Errorf("the holder found %v, want nobody but itself, which does not count", found)
	}
	if found := collect(deadline(t), hosts[0], erasure.ID{9}); len(found) != 0 {
		t.Errorf("holders %v of a block nobody has", found)
	}
	hosts[3].StopProvidingBlock(id)
}

func collect(ctx context.Context, h *kad.Host, id erasure.ID) []kad.Holder {
	var found []kad.Holder
	for holder := range h.FindHolders(ctx, id) {
		found = append(found, holder)
	}
	return found
}

// The records of a host outlive it, and lead to it again when it is back.
func TestAHolderIsFoundAfterARestart(t *testing.T) {
	hosts := hostsOf(t, 4, false)
	src := &memory{}
	id := src.add(t, content(100)).Info.ID()
	cfg := config(4, hosts[0])
	cfg.Custodian, cfg.TorrentPort = true, 1000
	first, err := kad.Open(t.Context(), cfg, src)
	if err != nil {
		t.Fatal(err)
	}
	first.ProvideBlock(id)
	waitFor(t, "the holder", func() bool { return len(collect(deadline(t), hosts[1], id)) == 1 })
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.TorrentPort = 2000
	again := open(t, cfg, src)
	waitFor(t, "the holder to answer again", func() bool {
		for _, holder := range collect(deadline(t), hosts[1], id) {
			hello, err := hosts[1].Hello(deadline(t), holder.Peer, id)
			if err == nil && holder.Peer == again.ID() && hello.Known && hello.Torrent.Port() == 2000 {
				return true
			}
		}
		return false
	})
}

func TestAHostStartedBeforeItsBootstrapPeerJoins(t *testing.T) {
	// Reserve an identity and address by opening the host once.
	cfg := config(0)
	reserved, err := kad.Open(t.Context(), cfg, &memory{})
	if err != nil {
		t.Fatal(err)
	}
	late := config(1, reserved)
	cfg.Port = portOf(t, reserved)
	if err := reserved.Close(); err != nil {
		t.Fatal(err)
	}
	early := open(t, late, &memory{})
	connected(t, early, open(t, cfg, &memory{}))
}

func portOf(t *testing.T, h *kad.Host) int {
	t.Helper()
	var port int
	for _, a := range h.Addrs() {
		info, err := peer.AddrInfoFromString(a)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := info.Addrs[0].ValueForProtocol(6); err == nil { // tcp
			if _, err := fmt.Sscan(s, &port); err != nil {
				t.Fatal(err)
			}
		}
	}
	return port
}

func TestAPortIsNotShared(t *testing.T) {
	h := open(t, config(0), &memory{})
	cfg := config(1)
	cfg.IP, cfg.Port = ip(0), portOf(t, h)
	if other, err := kad.Open(t.Context(), cfg, &memory{}); !errors.Is(err, kad.ErrPortInUse) {
		if err == nil {
			err = other.Close()
		}
		t.Errorf("open: %v, want ErrPortInUse", err)
	}
}

// A peer that stands under a group key which is not its own counts for nothing.
func TestFalseClaimsAreIgnored(t *testing.T) {
	hosts := hostsOf(t, 3, false)
	cfg := config(3, hosts[0])
	cfg.Custodian, cfg.CustodyCount = true, sampling.Groups // claims all groups
	liar := open(t, cfg, &memory{})
	narrow := config(4, hosts[0])
	narrow.CustodyCount = 0 // in this network nobody has groups
	observer := open(t, narrow, &memory{})
	waitFor(t, "the claims to be found", func() bool {
		got, err := hosts[1].Custodians(t.Context())
		return err == nil && len(got) == 1 && got[0].Peer == liar.ID() &&
			got[0].Groups == sampling.Custody(chain, []byte(liar.ID()), 24)
	})
	connected(t, observer, hosts[0])
	if got, err := observer.Custodians(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("custodians %v, %v; want none", got, err)
	}
}

func TestHoldersOfAnotherChainAreNotFound(t *testing.T) {
	a := open(t, config(0), &memory{})
	cfg := config(1, a)
	cfg.Chain, cfg.Custodian = "granary-elsewhere", true
	b := open(t, cfg, &memory{})
	id := erasure.ID{1}
	b.ProvideBlock(id)
	connected(t, a, b)
	waitFor(t, "b to be asked", func() bool {
		if found := collect(deadline(t), a, id); len(found) != 0 {
			t.Fatalf("found %v across chains", found)
		}
		return true
	})
}

func TestFindingEndsWithItsContextAndWithTheHost(t *testing.T) {
	hosts := hostsOf(t, 3, true)
	connected(t, hosts[2], hosts[0])
	ctx, cancel := context.WithCancel(deadline(t))
	cancel()
	if found := collect(ctx, hosts[2], erasure.ID{}); len(found) > 1 {
		t.Errorf("found %v after the end", found)
	}
	// Not reading must not keep the host from closing.
	unread := hosts[2].FindHolders(t.Context(), erasure.ID{})
	if err := hosts[2].Close(); err != nil {
		t.Fatal(err)
	}
	for range unread {
	}
	if found := collect(t.Context(), hosts[2], erasure.ID{}); len(found) != 0 {
		t.Errorf("a closed host found %v", found)
	}
	if _, err := hosts[2].Custodians(t.Context()); !errors.Is(err, kad.ErrClosed) {
		t.Errorf("custodians of a closed host: %v, want ErrClosed", err)
	}
	if err := hosts[2].Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestNobodyIsFoundAlone(t *testing.T) {
	h := open(t, config(0), &memory{})
	if _, err := h.Custodians(deadline(t)); !errors.Is(err, kad.ErrNoPeers) {
		t.Errorf("custodians: %v, want ErrNoPeers", err)
	}
	if found := collect(deadline(t), h, erasure.ID{}); len(found) != 0 {
		t.Errorf("found %v", found)
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	for name, breakIt := range map[string]func(*kad.Config){
		"no chain":        func(c *kad.Config) { c.Chain = "" },
		"long chain":      func(c *kad.Config) { c.Chain = string(make([]byte, 65)) },
		"no key":          func(c *kad.Config) { c.Key = nil },
		"port":            func(c *kad.Config) { c.Port = 65536 },
		"torrent port":    func(c *kad.Config) { c.TorrentPort = -1 },
		"bootstrap":       func(c *kad.Config) { c.Bootstrap = []string{"/ip4/127.0.0.1/tcp/1"} },
		"not an address":  func(c *kad.Config) { c.Bootstrap = []string{"nonsense"} },
		"foreign address": func(c *kad.Config) { c.IP = netip.MustParseAddr("192.0.2.1") },
	} {
		cfg := config(0)
		breakIt(&cfg)
		if h, err := kad.Open(t.Context(), cfg, &memory{}); err == nil {
			t.Errorf("%s: opened", name)
			_ = h.Close()
		}
	}
}

// A client's own record is seen by nobody, so it is found only where the sweep
// provider has brought it.
func TestAClientIsFoundThroughTheRecordsOfOthers(t *testing.T) {
	hosts := hostsOf(t, 6, true)
	cfg := config(6, hosts[0])
	cfg.Client, cfg.Custodian = true, true
	began := time.Now()
	client := open(t, cfg, &memory{})
	id := erasure.ID{7}
	client.ProvideBlock(id)
	waitFor(t, "custodians at the client", func() bool {
		got, err := client.Custodians(t.Context())
		return err == nil && len(got) == 6
	})
	waitFor(t, "the client among the custodians", func() bool {
		got, err := hosts[5].Custodians(t.Context())
		return err == nil && slices.ContainsFunc(got, func(c kad.Holder) bool { return c.Peer == client.ID() })
	})
	waitFor(t, "the client's block key", func() bool {
		return slices.Contains(collect(t.Context(), hosts[4], id), kad.Holder{Peer: client.ID(), Block: true})
	})
	t.Logf("found through others after %v", time.Since(began))
}
