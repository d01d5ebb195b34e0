package kad_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"granary/erasure"
	"granary/sampling"
	"granary/sampling/kad"
)

// peerID is that of test node i, whether it runs or not.
func peerID(t testing.TB, i int) peer.ID {
	t.Helper()
	private, err := crypto.UnmarshalEd25519PrivateKey(key(i))
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// remembered waits until a host remembers so many custodians that answer.
func remembered(t testing.TB, h *kad.Host, n int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%d custodians that answer", n), func() bool {
		if _, err := h.Custodians(t.Context()); err != nil && !errors.Is(err, kad.ErrNoPeers) {
			t.Fatal(err)
		}
		_, heard := h.KnownHolders()
		return heard == n
	})
}

func TestHoldersOutliveARestart(t *testing.T) {
	src := &memory{}
	id := src.add(t, content(2_000_000)).Info.ID()
	var hosts []*kad.Host
	for i := range 5 {
		cfg := config(i, hosts[:min(i, 1)]...)
		cfg.Custodian, cfg.CustodyCount = true, sampling.Groups
		hosts = append(hosts, open(t, cfg, src))
	}
	cfg := config(5, hosts[0])
	cfg.CustodyCount = sampling.Groups
	first, err := kad.Open(t.Context(), cfg, &memory{})
	if err != nil {
		t.Fatal(err)
	}
	remembered(t, first, 5)
	cfg.Holders = first.Holders()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	// With nobody to join by, what is known must come from the table.
	cfg.Bootstrap = nil
	again := open(t, cfg, &memory{})
	if all, heard := again.KnownHolders(); all != 5 || heard != 5 {
		t.Fatalf("%d custodians remembered, %d of them have answered; want 5 and 5", all, heard)
	}
	f := again.NewFinder(t.Context(), nil)
	defer f.Close()
	holders := f.For(deadline(t), id, 0, 0)
	if len(holders) != 5 || len(again.Peers()) != 0 {
		t.Fatalf("%d holders with %d peers connected, want 5 and 0: a warm start asks nobody", len(holders), len(again.Peers()))
	}
	for _, h := range holders {
		if _, _, err := f.Row(deadline(t), h, id, 3); err != nil {
			t.Error(err)
		}
	}
}

// A claim counts only where the custody rule confirms it, on disk too.
func TestTableOfAnotherNetworkIsOfNoUse(t *testing.T) {
	hosts := hostsOf(t, 4, true)
	remembered(t, hosts[0], 3)
	cfg := config(9)
	cfg.CustodyCount, cfg.Holders = 0, hosts[0].Holders()
	if all, _ := open(t, cfg, &memory{}).KnownHolders(); all != 0 {
		t.Errorf("%d custodians remembered in a network without custody", all)
	}
}

func TestDamagedTableIsForgotten(t *testing.T) {
	hosts := hostsOf(t, 3, true)
	remembered(t, hosts[0], 2)
	good := hosts[0].Holders()
	for name, raw := range map[string][]byte{
		"cut":     good[:len(good)/2],
		"garbage": []byte("\x00\xff"),
		"version": bytes.Replace(good, []byte(`"v":1`), []byte(`"v":2`), 1),
		"types":   []byte(`{"v":1,"looked":{"0":7},"known":[]}`),
		"null":    []byte(`null`),
	} {
		cfg := config(9)
		cfg.Holders = raw
		h := open(t, cfg, &memory{})
		if all, _ := h.KnownHolders(); all != 0 {
			t.Errorf("%s: %d custodians remembered", name, all)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestTableIsBoundedAndTrustsNoClock(t *testing.T) {
	type one struct {
		Addrs []string  `json:"addrs"`
		Heard time.Time `json:"heard"`
	}
	file := struct {
		V      int               `json:"v"`
		Looked map[int]time.Time `json:"looked"`
		Known  map[string]one    `json:"known"`
	}{V: 1, Looked: map[int]time.Time{-1: {}, 64: {}, 3: time.Now().Add(time.Hour)}, Known: map[string]one{"nobody": {}}}
	addrs := make([]string, 1000)
	for i := range addrs {
		addrs[i] = fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", i+1)
	}
	addrs[1] = "nonsense"
	for i := range 2100 {
		file.Known[peerID(t, i).String()] = one{Addrs: addrs[:8], Heard: time.Now().Add(-time.Minute)}
	}
	file.Known[peerID(t, 0).String()] = one{Addrs: addrs, Heard: time.Now().Add(time.Hour)}
	raw, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(3000)
	cfg.Holders = raw
	h := open(t, cfg, &memory{})
	all, _ := h.KnownHolders()
	if all != 2048 {
		t.Errorf("%d custodians remembered, want 2048", all)
	}
	if kept := h.Holders(); len(kept) > 2<<20 || bytes.Contains(kept, []byte("nonsense")) {
		t.Errorf("the table takes %d bytes", len(kept))
	}
	if bytes.Contains(h.Holders(), []byte(peerID(t, 0).String())) {
		t.Error("one who answered in the future is remembered")
	}
}

// A custodian that is gone is asked after those that answer.
func TestHoldersThatFailComeLast(t *testing.T) {
	src := &memory{}
	id := src.add(t, content(2_000_000)).Info.ID()
	var hosts []*kad.Host
	for i := range 4 {
		cfg := config(i, hosts[:min(i, 1)]...)
		cfg.Custodian, cfg.CustodyCount = true, sampling.Groups
		hosts = append(hosts, open(t, cfg, src))
	}
	remembered(t, hosts[0], 3)
	if err := hosts[2].Close(); err != nil {
		t.Fatal(err)
	}
	f := hosts[0].NewFinder(t.Context(), nil)
	defer f.Close()
	gone := sampling.Holder(hosts[2].ID())
	if _, _, err := f.Row(deadline(t), gone, id, 0); err == nil {
		t.Fatal("a closed host served a row")
	}
	for range 20 {
		if got := f.For(deadline(t), id, 0, 0); len(got) != 3 || got[2] != gone {
			t.Fatalf("holders %q, want %q last", got, gone)
		}
	}
}

func TestExtraPeersAreAskedAfterThoseThatOwe(t *testing.T) {
	hosts := hostsOf(t, 1, false)
	extra := []peer.ID{peerID(t, 7), peerID(t, 8)}
	f := hosts[0].NewFinder(t.Context(), extra)
	defer f.Close()
	if got := f.For(deadline(t), erasure.ID{1}, 0, 0); len(got) != 2 {
		t.Errorf("holders %q, want the two extra peers", got)
	}
}
