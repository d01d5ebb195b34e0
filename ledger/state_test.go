package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"granary/erasure"
	"granary/ledger"
)

const day = 24 * time.Hour

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
	if !b.Certified || b.Index != applied.First+1 || !b.Until.Equal(n.now.Add(30*day)) || b.Pending != 0 {
		t.Errorf("block %+v", b)
	}
	if a := n.announcement(t, index); a.Status != ledger.Certified || a.Decision != b.Index || a.Record.Publisher != ledger.KeyOf(key("alice")) {
		t.Errorf("announcement %+v", a)
	}
	if a := n.account(t, "alice"); a.Credits != 1e12-3_000_000 || a.Pending != 0 || a.Nonce != 1 {
		t.Errorf("account %+v", a)
	}
	if p, err := n.Pending(); err != nil || len(p) != 0 {
		t.Errorf("pending %v, %v", p, err)
	}
}

func TestLateAttestationIsRecorded(t *testing.T) {
	n := newNode(t, testGenesis())
	r := record("a", 100_000, 30)
	index := n.accept(t, announce(t, "alice", 1, r))
	n.certify(t, 1, to(index, r))
	late := n.block(t, attest(t, 3, 1, to(index, r)))
	if late.Results[0] != nil || len(late.Entries) != 1 {
		t.Errorf("%v, %d entries, want the transaction alone", late.Results[0], len(late.Entries))
	}
	if a := n.announcement(t, index); a.Power != 4 || len(a.Attesters) != 4 || a.Attesters[3] != ledger.KeyOf(key("consensus 3")) {
		t.Errorf("announcement %+v", a)
	}
	if o := n.blockState(t, r).Certificate.Outcome; o.Power != 3 {
		t.Errorf("the certificate changed to %+v", o)
	}
	n.refuse(t, attest(t, 3, 2, to(index, r)), ledger.ErrAttested)
}

// TestCertificateNeedsMoreThanTwoThirds takes sets in which some validators have
// exactly 2/3, or the least that is more.
func TestCertificateNeedsMoreThanTwoThirds(t *testing.T) {
	for _, c := range []struct {
		powers []int64
		need   int // how many, in order
	}{
		{[]int64{1}, 1},
		{[]int64{1, 1}, 2},
		{[]int64{1, 1, 1}, 3},
		{[]int64{2, 2, 1}, 2},
		{[]int64{1, 1, 1, 1}, 3},
		{[]int64{1, 1, 1, 1, 1, 1}, 5},
		{[]int64{1, 1, 1, 1, 1, 1, 1}, 5},
		{[]int64{6, 1, 1, 1}, 2},
		{[]int64{7, 1, 1, 1}, 1},
		{[]int64{1 << 49, 1 << 48, 1}, 2},
	} {
		g := testGenesis()
		g.Validators = validators(c.powers...)
		n := newNode(t, g)
		r := record("a", 1000, 1)
		index := n.accept(t, announce(t, "alice", 1, r))
		for v := range c.powers {
			n.accept(t, attest(t, v, 1, to(index, r)))
			if got, want := n.blockState(t, r).Certified, v+1 >= c.need; got != want {
				t.Errorf("powers %v, %d attested: certified %v, want %v", c.powers, v+1, got, want)
			}
		}
	}
}

func TestBatchCertifiesManyInOneBlock(t *testing.T) {
	n := newNode(t, testGenesis())
	var list []ledger.Attestation
	for i, who := range []string{"alice", "bob", "carol"} {
		r := record(who, 1000, 1)
		list = append(list, to(n.accept(t, announce(t, who, 1, r)), r))
		if p, err := n.Pending(); err != nil || len(p) != i+1 || p[i].Record.ID() != r.ID() {
			t.Fatalf("pending %+v, %v", p, err)
		}
	}
	applied := n.block(t, attest(t, 0, 1, list...), attest(t, 1, 1, list...), attest(t, 2, 1, list...), attest(t, 3, 1, list...))
	var kinds []ledger.EntryKind
	for _, e := range applied.Entries {
		kinds = append(kinds, e.Kind)
	}
	// What follows from a transaction stands behind it, before the next.
	tx, certified := ledger.EntryTx, ledger.EntryCertified
	if want := []ledger.EntryKind{tx, tx, tx, certified, certified, certified, tx}; fmt.Sprint(kinds) != fmt.Sprint(want) {
		t.Errorf("entries %v, want %v", kinds, want)
	}
}

func TestBatchCountsWhatCounts(t *testing.T) {
	n := newNode(t, testGenesis())
	a, b := record("a", 1000, 1), record("b", 1000, 1)
	at := n.accept(t, announce(t, "alice", 1, a), announce(t, "bob", 1, b))
	n.accept(t, attest(t, 0, 1, to(at, a)))
	n.accept(t, attest(t, 0, 2, to(at, a), to(at+1, b), to(at+50, a)))
	for i, index := range []uint64{at, at + 1} {
		if got := n.announcement(t, index).Power; got != 1 {
			t.Errorf("announcement %d has power %d, want 1", i, got)
		}
	}
	n.refuse(t, attest(t, 0, 3, to(at, a), to(at+1, b), to(at+50, a)), ledger.ErrAttested)
}

func TestAttestationsThatDoNotCount(t *testing.T) {
	n := newNode(t, testGenesis())
	r := record("a", 1000, 1)
	at := n.accept(t, announce(t, "alice", 1, r))
	stranger, err := ledger.SignAttest(testChain, key("alice"), 2, []ledger.Attestation{to(at, r)})
	if err != nil {
		t.Fatal(err)
	}
	n.refuse(t, stranger, ledger.ErrNotValidator)
	consensus, err := ledger.SignAttest(testChain, key("consensus 0"), 1, []ledger.Attestation{to(at, r)})
	if err != nil {
		t.Fatal(err)
	}
	n.refuse(t, consensus, ledger.ErrNotValidator)
	n.refuse(t, attest(t, 0, 1, to(at+1, r)), ledger.ErrUnknown)
	n.refuse(t, attest(t, 0, 1, to(0, r)), ledger.ErrUnknown)
	n.refuse(t, attest(t, 0, 1, to(at, record("b", 1000, 1))), ledger.ErrUnknown)
	n.accept(t, attest(t, 0, 1, to(at, r)))
	n.refuse(t, attest(t, 0, 1, to(at, r)), ledger.ErrNonce)
	n.refuse(t, attest(t, 0, 2, to(at, r)), ledger.ErrAttested)
}

// TestExpiryFollowsTheClock is about idle times: the block that brings an
// announcement carries a time from before them.
func TestExpiryFollowsTheClock(t *testing.T) {
	g := testGenesis()
	window := g.Params.AnnounceWindow
	n := newNode(t, g)
	r := record("a", 1000, 1)
	// Height 1 brings it; its time does not matter, and neither has it a deadline.
	at := n.accept(t, announce(t, "alice", 1, r))
	if a := n.announcement(t, at); !a.Deadline.IsZero() {
		t.Errorf("deadline %s before the next height", a.Deadline)
	}
	// Height 2, after a day of sleep, sets the deadline and expires nothing.
	if applied := n.blockAfter(t, day); len(applied.Entries) != 0 {
		t.Fatalf("expired at once: %+v", applied.Entries)
	}
	deadline := n.now.Add(window)
	if a := n.announcement(t, at); !a.Deadline.Equal(deadline) {
		t.Errorf("deadline %s, want %s", a.Deadline, deadline)
	}
	if applied := n.blockAfter(t, window-time.Millisecond); len(applied.Entries) != 0 {
		t.Fatalf("expired a millisecond early: %+v", applied.Entries)
	}
	applied := n.blockAfter(t, time.Millisecond)
	if a := n.announcement(t, at); a.Status != ledger.Expired || a.Decision == 0 {
		t.Fatalf("announcement %+v after %+v", a, applied)
	}
	n.refuse(t, attest(t, 0, 1, to(at, r)), ledger.ErrExpired)
	if b := n.blockState(t, r); b.Certified || b.Pending != 0 {
		t.Errorf("block %+v", b)
	}
	if a := n.account(t, "alice"); a.Pending != 0 || a.Credits != 1e12-1000 {
		t.Errorf("account %+v: the slot is free, the credits are gone", a)
	}
	at = n.accept(t, announce(t, "alice", 2, r))
	n.certify(t, 1, to(at, r))
	if !n.blockState(t, r).Certified {
		t.Error("not certified the second time")
	}
}

// TestLaterAnnouncementWaitsForTheOneBefore has a vote shorten the window: what is
// announced afterwards would be due first, but expires in the order of the log.
func TestLaterAnnouncementWaitsForTheOneBefore(t *testing.T) {
	n := newNode(t, testGenesis())
	p := n.Params()
	long := p.AnnounceWindow
	p.AnnounceWindow = time.Second
	first := n.accept(t, announce(t, "alice", 1, record("a", 1, 1)))
	change := n.accept(t, propose(t, 0, 1, ledger.Change{Kind: ledger.ChangeParams, Params: p}))
	due := n.now.Add(long) // of the first: by the window of the height after it
	n.accept(t, vote(t, 1, 1, change, true), vote(t, 2, 1, change, true))
	second := n.accept(t, announce(t, "bob", 1, record("b", 1, 1)))
	n.block(t)
	if a, b := n.announcement(t, first), n.announcement(t, second); !a.Deadline.Equal(due) || !b.Deadline.Before(due) {
		t.Fatalf("deadlines %s and %s", a.Deadline, b.Deadline)
	}
	if applied := n.blockAfter(t, due.Sub(n.now)-time.Millisecond); len(applied.Entries) != 0 {
		t.Fatalf("out of order: %+v", applied.Entries)
	}
	applied := n.blockAfter(t, time.Millisecond)
	if e := applied.Entries; len(e) != 2 || e[0].Outcome.Announcement != first || e[1].Outcome.Announcement != second || e[1].Kind != ledger.EntryExpired {
		t.Errorf("entries %+v", e)
	}

	// One before that is certified holds up nobody.
	third := n.accept(t, announce(t, "alice", 2, record("c", 1, 1)))
	word := to(third, record("c", 1, 1))
	n.accept(t, attest(t, 0, 5, word), attest(t, 1, 5, word), attest(t, 2, 5, word))
	fourth := n.accept(t, announce(t, "bob", 2, record("d", 1, 1)))
	n.block(t)
	if n.blockAfter(t, time.Second); n.announcement(t, fourth).Status != ledger.Expired {
		t.Error("still pending though nothing before it is")
	}
}

func TestExpiredEntrySaysHowFarItCame(t *testing.T) {
	g := testGenesis()
	n := newNode(t, g)
	r := record("a", 1000, 1)
	at := n.accept(t, announce(t, "alice", 1, r))
	n.accept(t, attest(t, 1, 1, to(at, r)), attest(t, 3, 1, to(at, r)))
	applied := n.blockAfter(t, g.Params.AnnounceWindow, announce(t, "alice", 2, record("b", 1000, 1)))
	if len(applied.Entries) != 2 || applied.Entries[0].Kind != ledger.EntryExpired || applied.Results[0] != nil {
		t.Fatalf("%+v: the clock comes first, then the transaction that it allows", applied)
	}
	if o := applied.Entries[0].Outcome; o.Announcement != at || o.ID != r.ID() || o.Power != 2 || o.Total != 4 {
		t.Errorf("outcome %+v", o)
	}
}

func TestClockNeverRunsBackwards(t *testing.T) {
	n := newNode(t, testGenesis())
	n.block(t)
	before := n.Time()
	for _, back := range []time.Time{before.Add(-time.Hour), {}, time.Unix(1<<62, 0)} {
		if _, err := n.Apply(n.Height()+1, back, nil); err != nil {
			t.Fatal(err)
		}
		if n.Time().Before(before) {
			t.Errorf("a block of %s set the clock back to %s", back, n.Time())
		}
	}
}

func TestIdleBlocksDoNotMoveTheHead(t *testing.T) {
	n := newNode(t, testGenesis())
	head := n.Head()
	for range 5 {
		if applied := n.blockAfter(t, time.Hour); applied.Head.AppHash() != head.AppHash() || len(applied.Entries) != 0 {
			t.Fatalf("an idle block gave %+v", applied)
		}
	}
}

func TestHeightsComeInOrder(t *testing.T) {
	n := newNode(t, testGenesis())
	for _, height := range []int64{-1, 0, 2} {
		if _, err := n.Apply(height, n.now, nil); err == nil {
			t.Errorf("height %d applied after 0", height)
		}
	}
}

func TestNoncesCountOnce(t *testing.T) {
	n := newNode(t, testGenesis())
	r := record("a", 1000, 1)
	at := n.accept(t, announce(t, "alice", 1, r))
	n.certify(t, 1, to(at, r))
	again := func(nonce uint64) []byte { return announce(t, "alice", nonce, r) }
	n.refuse(t, announce(t, "alice", 1, r), ledger.ErrNonce)
	n.refuse(t, again(0), ledger.ErrNonce)
	n.refuse(t, again(1+ledger.NonceWindow+1), ledger.ErrNonce)
	n.refuse(t, again(1<<64-1), ledger.ErrNonce)
	n.accept(t, again(1+ledger.NonceWindow)) // 65: nothing below 2 can come any more
	n.refuse(t, again(1), ledger.ErrNonce)
	n.accept(t, again(2))
	n.accept(t, again(40), again(3), again(64))
	for _, nonce := range []uint64{2, 3, 40, 64, 65} {
		n.refuse(t, again(nonce), ledger.ErrNonce)
	}
	n.accept(t, again(66))
	if a := n.account(t, "alice"); a.Nonce != 66 {
		t.Errorf("highest nonce %d, want 66", a.Nonce)
	}
}

func TestSameTransactionTwiceInOneBlock(t *testing.T) {
	n := newNode(t, testGenesis())
	tx := announce(t, "alice", 1, record("a", 1000, 1))
	results := n.block(t, tx, tx).Results
	if results[0] != nil || !errors.Is(results[1], ledger.ErrNonce) {
		t.Errorf("%v", results)
	}
}

func TestSignatureHoldsForOneSenderOnOneChain(t *testing.T) {
	n := newNode(t, testGenesis())
	r := record("a", 1000, 1)
	elsewhere, err := ledger.SignAnnounce("another-chain", key("alice"), 1, r)
	if err != nil {
		t.Fatal(err)
	}
	n.refuse(t, elsewhere, ledger.ErrSignature)
	alice := announce(t, "alice", 1, r)
	alicesKey, bobsKey := ledger.KeyOf(key("alice")), ledger.KeyOf(key("bob"))
	n.refuse(t, bytes.Replace(alice, alicesKey[:], bobsKey[:], 1), ledger.ErrSignature)
	for _, i := range []int{len(alice) - 1, len(alice) - 40} {
		bad := bytes.Clone(alice)
		bad[i] ^= 1
		n.refuse(t, bad, ledger.ErrSignature)
	}
	n.accept(t, alice)
}

func TestOnePendingRecordPerPublisher(t *testing.T) {
	n := newNode(t, testGenesis())
	r := record("a", 1000, 1)
	at := n.accept(t, announce(t, "alice", 1, r))
	n.refuse(t, announce(t, "alice", 2, record("b", 1000, 1)), ledger.ErrPending)
	n.refuse(t, announce(t, "alice", 2, r), ledger.ErrPending)
	n.accept(t, announce(t, "bob", 1, record("b", 1000, 1)))
	n.certify(t, 1, to(at, r))
	n.accept(t, announce(t, "alice", 2, record("c", 1000, 1)))
}

func TestPendingBytesAreBounded(t *testing.T) {
	g := testGenesis()
	var publishers []string
	for i := range 6 {
		publishers = append(publishers, fmt.Sprint("publisher ", i))
		g.Grants = append(g.Grants, ledger.Grant{Key: ledger.KeyOf(key(publishers[i])), Credits: 1 << 30})
	}
	n := newNode(t, g)
	whole := func(name string) ledger.Record { return record(name, erasure.MaxLength, 1) }
	at := n.accept(t,
		announce(t, publishers[0], 1, whole("a")), announce(t, publishers[1], 1, whole("b")),
		announce(t, publishers[2], 1, whole("c")), announce(t, publishers[3], 1, whole("d")))
	// 1 GiB waits: not a byte more, but what waits already can be announced by others.
	n.refuse(t, announce(t, publishers[4], 1, record("e", 1, 1)), ledger.ErrFull)
	n.accept(t, announce(t, publishers[4], 1, whole("a")))
	n.certify(t, 1, to(at, whole("a")))
	n.accept(t, announce(t, publishers[5], 1, whole("e")))
	n.refuse(t, announce(t, "alice", 1, record("f", 1, 1)), ledger.ErrFull)
	n.blockAfter(t, g.Params.AnnounceWindow)
	n.blockAfter(t, g.Params.AnnounceWindow)
	if p, err := n.Pending(); err != nil || len(p) != 0 {
		t.Fatalf("pending %+v, %v", p, err)
	}
	n.accept(t, announce(t, "alice", 1, whole("f")), announce(t, "bob", 1, whole("g")),
		announce(t, "carol", 1, whole("h")), announce(t, publishers[0], 2, whole("i")))
	n.refuse(t, announce(t, publishers[1], 2, record("j", 1, 1)), ledger.ErrFull)
}

func TestCreditsAreCharged(t *testing.T) {
	g := testGenesis()
	g.Grants = []ledger.Grant{{Key: ledger.KeyOf(key("alice")), Credits: 70_000}}
	n := newNode(t, g)
	n.refuse(t, announce(t, "alice", 1, record("a", 10_000, 8)), ledger.ErrCredits)
	n.refuse(t, announce(t, "bob", 1, record("a", 1, 1)), ledger.ErrCredits)
	r := record("a", 10_000, 6)
	at := n.accept(t, announce(t, "alice", 1, r))
	if got := n.account(t, "alice").Credits; got != 10_000 {
		t.Errorf("%d credits left, want 10,000", got)
	}
	n.certify(t, 1, to(at, r))
	r.Keep = 1
	n.accept(t, announce(t, "alice", 2, r))
	n.refuse(t, announce(t, "alice", 3, r), ledger.ErrCredits)
	if got := n.account(t, "alice").Credits; got != 0 {
		t.Errorf("%d credits left, want none", got)
	}
}

func TestNewcomersShareADailyAllowance(t *testing.T) {
	g := testGenesis()
	g.Params.Allowance, g.Params.AllowancePerDay = 100, 250
	n := newNode(t, g)
	if a := n.account(t, "dave"); a.Credits != 100 {
		t.Errorf("a newcomer has %d credits, want 100", a.Credits)
	}
	n.accept(t, announce(t, "dave", 1, record("a", 60, 1)))
	if a := n.account(t, "dave"); a.Credits != 40 {
		t.Errorf("%d credits left, want 40", a.Credits)
	}
	n.refuse(t, announce(t, "erin", 1, record("b", 101, 1)), ledger.ErrCredits) // and is no account yet
	n.accept(t, announce(t, "erin", 1, record("b", 100, 1)))
	n.refuse(t, announce(t, "frank", 1, record("c", 1, 1)), ledger.ErrCredits)
	if a := n.account(t, "frank"); a.Credits != 0 {
		t.Errorf("with the day's allowances gone a newcomer has %d credits", a.Credits)
	}
	n.blockAfter(t, day)
	n.accept(t, announce(t, "frank", 1, record("c", 100, 1)))
	n.accept(t, announce(t, "grace", 1, record("d", 100, 1)))
	n.refuse(t, announce(t, "heidi", 1, record("e", 1, 1)), ledger.ErrCredits)
	n.refuse(t, announce(t, "dave", 2, record("f", 41, 1)), ledger.ErrCredits) // once only
}

func TestAnnouncingACertifiedBlockAgainIsImmediate(t *testing.T) {
	n := newNode(t, testGenesis())
	r := record("a", 1000, 30)
	at := n.accept(t, announce(t, "alice", 1, r))
	n.certify(t, 1, to(at, r))
	until := n.blockState(t, r).Until
	n.blockAfter(t, 29*day)
	r.Keep = 5
	applied := n.block(t, announce(t, "bob", 1, r), announce(t, "bob", 2, r))
	if len(applied.Entries) != 2 || applied.Results[1] != nil {
		t.Fatalf("%+v: no certificate is due, and nothing pends", applied)
	}
	b := n.blockState(t, r)
	if !b.Until.Equal(until.Add(10*day)) || b.Pending != 0 || b.Latest.Status != ledger.Certified || b.Latest.Decision != b.Index {
		t.Errorf("block %+v: what is paid for adds up", b)
	}
	if a := n.account(t, "bob"); a.Pending != 0 || a.Credits != 1e12-10_000 {
		t.Errorf("account %+v", a)
	}
}

func TestAfterItsKeepABlockIsCertifiedAnew(t *testing.T) {
	n := newNode(t, testGenesis())
	r := record("a", 1000, 2)
	at := n.accept(t, announce(t, "alice", 1, r))
	n.certify(t, 1, to(at, r))
	first := n.blockState(t, r)
	n.blockAfter(t, 2*day-time.Second)
	if got := n.Time(); !got.Equal(first.Until.Add(-time.Second)) {
		t.Fatalf("now %s, kept until %s", got, first.Until)
	}
	again := n.accept(t, announce(t, "bob", 1, r)) // in the block whose time is the end
	if b := n.blockState(t, r); b.Pending != 1 || b.Latest.Status != ledger.Pending || b.Index != first.Index {
		t.Fatalf("block %+v", b)
	}
	n.certify(t, 2, to(again, r))
	if b := n.blockState(t, r); b.Index <= first.Index || !b.Until.Equal(n.now.Add(2*day)) {
		t.Errorf("block %+v", b)
	}
}

func TestOneCertificateServesAllWhoAnnounced(t *testing.T) {
	n := newNode(t, testGenesis())
	a, b := record("a", 1000, 10), record("a", 1000, 7)
	a.Peers, b.Peers = nil, []ledger.PeerID{{1}}
	first := n.accept(t, announce(t, "alice", 1, a))
	second := n.accept(t, announce(t, "bob", 1, b))
	if got := n.blockState(t, a).Pending; got != 2 {
		t.Fatalf("%d pending, want 2", got)
	}
	// Attestations are counted by announcement: two of each are no certificate.
	n.accept(t, attest(t, 0, 1, to(first, a), to(second, b)), attest(t, 1, 1, to(first, a)), attest(t, 2, 1, to(second, b)))
	if n.blockState(t, a).Certified {
		t.Fatal("certified by two of four")
	}
	applied := n.block(t, attest(t, 3, 1, to(second, b)), attest(t, 3, 2, to(first, a)))
	if len(applied.Entries) != 3 || applied.Entries[1].Outcome.Announcement != second {
		t.Fatalf("entries %+v, want one certificate", applied.Entries)
	}
	got := n.blockState(t, a)
	if !got.Until.Equal(n.now.Add(17*day)) || got.Pending != 0 || got.Latest.Index != second {
		t.Errorf("block %+v", got)
	}
	for i, index := range []uint64{first, second} {
		if x := n.announcement(t, index); x.Status != ledger.Certified || x.Decision != got.Index {
			t.Errorf("announcement %d: %+v", i, x)
		}
	}
	n.accept(t, announce(t, "alice", 2, record("b", 1, 1)), announce(t, "bob", 2, record("c", 1, 1)))
}

func TestAnnouncementOfAnotherExpiresAlone(t *testing.T) {
	g := testGenesis()
	window := g.Params.AnnounceWindow
	n := newNode(t, g)
	r := record("a", erasure.MaxLength, 1)
	n.accept(t, announce(t, "alice", 1, r))
	n.block(t)
	n.blockAfter(t, window/2)
	second := n.accept(t, announce(t, "bob", 1, r))
	n.block(t)
	n.blockAfter(t, window/2)
	if b := n.blockState(t, r); b.Pending != 1 {
		t.Fatalf("%d pending, want only bob's", b.Pending)
	}
	n.certify(t, 1, to(second, r))
	if b := n.blockState(t, r); !b.Certified || !b.Until.Equal(n.now.Add(day)) {
		t.Errorf("block %+v: the days that expired do not count", b)
	}
}

func TestKeepIsBounded(t *testing.T) {
	g := testGenesis()
	g.Grants[0].Credits = 1e15
	n := newNode(t, g)
	r := record("a", 1, ledger.MaxKeep-10)
	at := n.accept(t, announce(t, "alice", 1, r))
	n.certify(t, 1, to(at, r))
	r.Keep = 11
	over := announce(t, "alice", 2, r)
	r.Keep = 10
	just := announce(t, "alice", 2, r)
	results := n.blockAfter(t, 0, over, just).Results
	if !errors.Is(results[0], ledger.ErrKeep) || results[1] != nil {
		t.Errorf("a day too long: %v, just long enough: %v", results[0], results[1])
	}

	other := record("b", 1, ledger.MaxKeep)
	at = n.accept(t, announce(t, "alice", 3, other), announce(t, "bob", 1, other))
	n.certify(t, 2, to(at, other))
	if b := n.blockState(t, other); !b.Until.Equal(n.now.Add(ledger.MaxKeep * day)) {
		t.Errorf("kept until %s", b.Until)
	}
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
	if _, err := ledger.Init(n.kv, testGenesis()); err == nil {
		t.Error("a network began where there is one")
	}
}
