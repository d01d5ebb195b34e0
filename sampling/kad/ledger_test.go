package kad_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/sampling/kad"
)

// TestThoseWhoAnswerForTheLedgerAreFound: by a node that knows one other peer,
// which is none of them, and in no other network.
func TestThoseWhoAnswerForTheLedgerAreFound(t *testing.T) {
	middle := open(t, config(0), &memory{})
	service := kad.Service{Protocol: "/granary/light/1.0.0", MaxRequest: 16, MaxReply: 16}
	var want []peer.ID
	for i := 1; i <= 3; i++ {
		h := open(t, config(i, middle), &memory{})
		h.Serve(service, func(context.Context, peer.ID, []byte) []byte { return []byte{byte(i)} })
		if err := h.ProvideLedger(); err != nil {
			t.Fatal(err)
		}
		want = append(want, h.ID())
	}
	slices.Sort(want)

	cfg := config(4, middle)
	cfg.Client = true
	newcomer := open(t, cfg, &memory{})
	var found []peer.ID
	waitFor(t, "all three", func() bool {
		found = newcomer.FindLedger(deadline(t))
		slices.Sort(found)
		return slices.Equal(found, want)
	})
	for _, p := range found {
		if reply, err := newcomer.Call(deadline(t), p, service, nil); err != nil || len(reply) != 1 {
			t.Errorf("asked by its name alone: %x, %v", reply, err)
		}
	}

	cfg = config(5, middle)
	cfg.Chain = "another"
	if got := open(t, cfg, &memory{}).FindLedger(deadline(t)); len(got) != 0 {
		t.Errorf("another network's: %v", got)
	}
	if err := newcomer.Close(); err != nil {
		t.Fatal(err)
	}
	if got := newcomer.FindLedger(deadline(t)); got != nil {
		t.Errorf("found after Close: %v", got)
	}
	if err := newcomer.ProvideLedger(); !errors.Is(err, kad.ErrClosed) {
		t.Errorf("provided after Close: %v", err)
	}
}
