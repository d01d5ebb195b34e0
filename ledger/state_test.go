package ledger_test

import (
	"errors"
	"testing"
	"time"

	"granary/ledger"
)

func TestThreeOfFourCertify(t *testing.T) {
	n := newNode(t, testGenesis())
	r := record("a", 100_000, 30)
	index := n.accept(t, announce(t, "alice", 1, r))
	if index != 1 {
		t.Fatalf("announced at entry %d, want 1", index)
	}
	for v := range 2 {
		n.accept(t, attest(t, v, 1, to(index, r)))
	}
	if a := n.announcement(t, index); a.Status != ledger.Pending || a.Power != 2 || a.Total != 4 || len(a.Attesters) != 2 {
		t.Fatalf("with two of four: %+v", a)
	}
	applied := n.block(t, attest(t, 2, 1, to(index, r)))
	if len(applied.Entries) != 2 || applied.Entries[1].Kind != ledger.EntryCertified {
		t.Fatalf("entries %+v", applied.Entries)
	}
	if o := applied.Entries[1].Outcome; o.Announcement != index || o.ID != r.ID() || o.Power != 3 || o.Total != 4 {
		t.Errorf("outcome %+v", o)
	}
	b := n.blockState(t, r)
	if !b.Certified || b.Index != applied.First+1 || !b.Until.Equal(n.now.Add(30*24*time.Hour)) || b.Pending != 0 {
		t.Errorf("block %+v", b)
	}
	if a := n.announcement(t, index); a.Status != ledger.Certified || a.Decision != b.Index {
		t.Errorf("announcement %+v", a)
	}
	if a := n.account(t, "alice"); a.Credits != 1e12-3_000_000 || a.Pending != 0 || a.Nonce != 1 {
		t.Errorf("account %+v", a)
	}
	if p, err := n.Pending(); err != nil || len(p) != 0 {
		t.Errorf("pending %v, %v", p, err)
	}

	late := n.block(t, attest(t, 3, 1, to(index, r)))
	if len(late.Entries) != 1 || late.Results[0] != nil {
		t.Errorf("late attestation: %v, %d entries", late.Results[0], len(late.Entries))
	}
	if a := n.announcement(t, index); a.Power != 4 || n.blockState(t, r).Certificate.Outcome.Power != 3 {
		t.Errorf("after a late attestation: %+v", a)
	}
	n.refuse(t, attest(t, 3, 2, to(index, r)), ledger.ErrAttested)
}

func TestStateOfNothingIsNotFound(t *testing.T) {
	n := newNode(t, testGenesis())
	if _, err := n.Block(record("a", 1, 1).ID()); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("block: %v", err)
	}
	for _, index := range []uint64{0, 1, 1 << 63} {
		if _, err := n.Announcement(index); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("announcement %d: %v", index, err)
		}
	}
	if _, err := n.Entry(1); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("entry: %v", err)
	}
	if _, err := ledger.Load(ledger.NewMemory()); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("empty store: %v", err)
	}
}
