package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"granary/erasure"
	"granary/ledger"
)

// history draws what a network goes through: transactions good and bad, and
// times between blocks.
type history struct {
	*rapid.T
	people []string
}

func newHistory(t *rapid.T) (history, ledger.Genesis) {
	n := rapid.IntRange(1, 7).Draw(t, "validators")
	var powers []int64
	for range n {
		powers = append(powers, rapid.Int64Range(1, 5).Draw(t, "power"))
	}
	g := testGenesis()
	g.Validators = validators(powers...)
	g.Params.AnnounceWindow = 20 * time.Second
	g.Params.MaxPending = 64 * erasure.RowSize
	g.Params.Allowance, g.Params.AllowancePerDay = 200_000, 300_000
	g.Params.NameTerm, g.Params.NameCost, g.Params.VoteWindow = 30*time.Second, 1_000, 40*time.Second
	g.Params.Fee = rapid.SampledFrom([]int64{0, 1, 1_500, 100_000}).Draw(t, "fee")
	for i := range g.Grants {
		g.Grants[i].Credits = 50_000_000
	}
	return history{t, []string{"alice", "bob", "carol", "dave", "erin", "attest 0"}}, g
}

func (h history) record() ledger.Record {
	return record(
		rapid.SampledFrom([]string{"a", "b", "c"}).Draw(h.T, "name"),
		rapid.SampledFrom([]int64{1, 1, 1000, 20 * erasure.RowSize, 50 * erasure.RowSize}).Draw(h.T, "length"),
		uint32(rapid.SampledFrom([]int{1, 3, ledger.MaxKeep / 2, ledger.MaxKeep}).Draw(h.T, "keep")),
	)
}

// announced is a record, sometimes in a namespace.
func (h history) announced() ledger.Record {
	r := h.record()
	r.Namespace = rapid.SampledFrom([]string{"", "", "", "x", "y"}).Draw(h.T, "namespace")
	return r
}

// other draws a transaction of a kind that people seldom send.
func (h history) other(n *ledger.State) (who string, tx ledger.Tx) {
	who = rapid.SampledFrom(h.people).Draw(h.T, "who")
	someone := ledger.KeyOf(key(rapid.SampledFrom(append([]string{"frank"}, h.people...)).Draw(h.T, "someone")))
	switch rapid.IntRange(0, 9).Draw(h.T, "kind") {
	case 0, 1:
		if someone == ledger.KeyOf(key(who)) {
			someone = ledger.KeyOf(key("frank"))
		}
		credits := rapid.SampledFrom([]int64{1, 1000, 100_000, 30_000_000, ledger.MaxCredits}).Draw(h.T, "credits")
		return who, ledger.Tx{Kind: ledger.KindTransfer, Transfer: ledger.Transfer{To: someone, Credits: credits}}
	case 2, 3, 4, 5:
		name := ledger.Naming{
			Name:  rapid.SampledFrom([]string{"x", "y", "x-1"}).Draw(h.T, "name"),
			Terms: rapid.SampledFrom([]uint64{1, 1, 1, 0, 0, 2, ledger.MaxTerms}).Draw(h.T, "terms"),
		}
		if name.Terms == 0 || rapid.Bool().Draw(h.T, "point") {
			name.Target = h.record().ID()
		}
		if rapid.IntRange(0, 4).Draw(h.T, "give") == 0 {
			name.Owner = someone
		}
		return who, ledger.Tx{Kind: ledger.KindName, Naming: name}
	}
	who = fmt.Sprintf("attest %d", rapid.IntRange(0, 8).Draw(h.T, "validator"))
	switch rapid.IntRange(0, 6).Draw(h.T, "word") {
	case 0:
		return who, h.rotation(n, ledger.KeyOf(key(who)))
	case 1, 2:
		return who, ledger.Tx{Kind: ledger.KindPropose, Change: h.change(n)}
	}
	var open []uint64
	for index := range n.Head().Size {
		if e, err := n.Entry(index); err == nil && e.Kind == ledger.EntryTx && e.Tx.Kind == ledger.KindPropose {
			open = append(open, index)
		}
	}
	at := rapid.SampledFrom(append(open, 1)).Draw(h.T, "proposal")
	return who, ledger.Tx{Kind: ledger.KindVote, Vote: ledger.Vote{Proposal: at, Approve: rapid.IntRange(0, 4).Draw(h.T, "no") != 0}}
}

// rotation draws one, seldom with another's proof.
func (h history) rotation(n *ledger.State, who ledger.PublicKey) ledger.Tx {
	set, err := n.Validators()
	if err != nil {
		h.Fatal(err)
	}
	next := key(fmt.Sprintf("attest %d", 9-rapid.IntRange(0, 9).Draw(h.T, "to")))
	of := set[rapid.IntRange(0, len(set)-1).Draw(h.T, "of")]
	if i := slices.IndexFunc(set, func(v ledger.Validator) bool { return v.Attest == who }); i >= 0 && rapid.IntRange(0, 9).Draw(h.T, "true") != 0 {
		of = set[i]
	}
	proof, err := ledger.Prove(testChain, of.Consensus, next)
	if err != nil {
		h.Fatal(err)
	}
	return ledger.Tx{Kind: ledger.KindRotate, Rotation: ledger.Rotation{Attest: ledger.KeyOf(next), Proof: proof}}
}

func (h history) change(n *ledger.State) ledger.Change {
	all := validators(make([]int64, 9)...)
	v := all[rapid.IntRange(0, 8).Draw(h.T, "whom")]
	v.Power = rapid.Int64Range(1, 5).Draw(h.T, "new power")
	if rapid.IntRange(0, 9).Draw(h.T, "unproven") == 0 {
		v.Attest = all[8].Attest
	}
	switch rapid.IntRange(0, 4).Draw(h.T, "change") {
	case 0:
		return ledger.Change{Kind: ledger.ChangeRemove, Remove: v.Consensus}
	case 1:
		p := n.Params()
		p.NameCost = rapid.SampledFrom([]int64{p.NameCost, p.NameCost + 1, 0}).Draw(h.T, "cost")
		p.Fee = rapid.SampledFrom([]int64{p.Fee, p.Fee + 1, 0}).Draw(h.T, "new fee")
		p.Allowance /= 2
		p.AnnounceWindow = rapid.SampledFrom([]time.Duration{p.AnnounceWindow + time.Second, time.Second}).Draw(h.T, "window")
		if rapid.IntRange(0, 3).Draw(h.T, "fixed") == 0 {
			p.Custody = 65 - p.Custody
		}
		return ledger.Change{Kind: ledger.ChangeParams, Params: p}
	case 2:
		return ledger.Change{Kind: ledger.ChangeGrant, Grant: ledger.Grant{
			Key:     ledger.KeyOf(key(rapid.SampledFrom(h.people).Draw(h.T, "to"))),
			Credits: rapid.SampledFrom([]int64{1, 1000, ledger.MaxCredits}).Draw(h.T, "credits"),
		}}
	}
	return ledger.Change{Kind: ledger.ChangeValidator, Validator: v}
}

// priced pays for a transaction, sometimes a little less or more.
func (h history) priced(n *ledger.State, tx ledger.Tx) ledger.Tx {
	if tx.Pay = n.Params().Price(tx); tx.Kind == ledger.KindAnnounce || tx.Kind == ledger.KindTransfer || tx.Kind == ledger.KindName {
		tx.Pay = max(tx.Pay+rapid.SampledFrom([]int64{0, 0, 0, 0, 0, 0, 0, -1, 1}).Draw(h.T, "pay"), 0)
	}
	return tx
}

// tx draws a transaction for a node in the state n.
func (h history) tx(n *ledger.State) []byte {
	nonce := func(key ledger.PublicKey) uint64 {
		a, err := n.Account(key)
		if err != nil {
			h.Fatal(err)
		}
		ahead := rapid.SampledFrom([]int{1, 1, 1, 1, 2, 3, 0, -1, -62, -63, -64, 64, 65}).Draw(h.T, "nonce")
		return a.Nonce + uint64(ahead)
	}
	var raw []byte
	var err error
	switch rapid.IntRange(0, 13).Draw(h.T, "what") {
	case 0: // garbage
		return rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(h.T, "garbage")
	case 1: // from elsewhere
		raw, err = ledger.SignAnnounce("granary-other", key("alice"), nonce(ledger.KeyOf(key("alice"))), h.record())
	case 2, 3, 4:
		who := key(rapid.SampledFrom(h.people).Draw(h.T, "who"))
		raw, err = ledger.Sign(testChain, who, nonce(ledger.KeyOf(who)), h.priced(n, ledger.Tx{Kind: ledger.KindAnnounce, Record: h.announced()}))
	case 10, 11, 12, 13:
		who, tx := h.other(n)
		raw, err = ledger.Sign(testChain, key(who), nonce(ledger.KeyOf(key(who))), h.priced(n, tx))
		if errors.Is(err, ledger.ErrMalformed) { // a rotation to the same key
			return nil
		}
	default:
		who := key(fmt.Sprintf("attest %d", rapid.IntRange(0, 7).Draw(h.T, "validator")))
		raw, err = ledger.SignAttest(testChain, who, nonce(ledger.KeyOf(who)), h.attestable(n))
	}
	if err != nil {
		h.Fatal(err)
	}
	return raw
}

// attestable draws what a validator could attest: all that is pending, and some
// that is not.
func (h history) attestable(n *ledger.State) []ledger.Attestation {
	var list []ledger.Attestation
	for index := range n.Head().Size {
		a, err := n.Announcement(index)
		if err == nil && len(list) < ledger.MaxAttestations && (a.Status == ledger.Pending || rapid.IntRange(0, 9).Draw(h.T, "stale") == 0) {
			list = append(list, to(index, a.Record))
		}
	}
	if len(list) == 0 {
		list = []ledger.Attestation{to(1, h.record())}
	}
	return list
}

// all returns an attest transaction of every validator.
func (h history) all(n *ledger.State) (txs [][]byte) {
	set, err := n.Validators()
	if err != nil {
		h.Fatal(err)
	}
	list := h.attestable(n)
	for v := range 10 {
		who := ledger.KeyOf(attestKey(v))
		if !slices.ContainsFunc(set, func(v ledger.Validator) bool { return v.Attest == who }) {
			continue
		}
		a, err := n.Account(who)
		if err != nil {
			h.Fatal(err)
		}
		raw, err := ledger.SignAttest(testChain, attestKey(v), a.Nonce+1, list)
		if err != nil {
			h.Fatal(err)
		}
		txs = append(txs, raw)
	}
	return txs
}

// next draws the time of the next height: some time later, or just when
// something ends.
func (h history) next(n *ledger.State, now time.Time) time.Time {
	at := []time.Time{now, now.Add(1), now.Add(time.Millisecond), now.Add(time.Second), now.Add(15 * time.Second), now.Add(day)}
	for index := range n.Head().Size {
		a, err := n.Announcement(index)
		if err != nil {
			continue
		}
		b, err := n.Block(a.Record.ID())
		if err != nil {
			h.Fatal(err)
		}
		for _, end := range []time.Time{a.Deadline, b.Until} {
			if end.After(now) {
				at = append(at, end.Add(-time.Millisecond), end)
			}
		}
	}
	return rapid.SampledFrom(at).Draw(h.T, "time")
}

// TestHistories follows a node through random histories and demands after every
// height: the reference agrees; a node that starts again from the store agrees,
// byte by byte; the mempool foresees what happens when no time passes; the log
// only grew; and nothing that was charged, counted or promised is lost. In the
// end, folding the log alone gives the same state.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, g := newHistory(t)
		kv := ledger.NewMemory()
		n, err := ledger.Init(kv, g)
		if err != nil {
			t.Fatal(err)
		}
		reference := newRefLedger(g)
		now := g.Time
		for range rapid.IntRange(1, 25).Draw(t, "heights") {
			now = h.next(n, now)
			var txs [][]byte
			for range rapid.IntRange(0, 5).Draw(t, "transactions") {
				txs = append(txs, h.tx(n))
			}
			if rapid.IntRange(0, 2).Draw(t, "attest all") == 0 {
				txs = append(txs, h.all(n)...)
			}
			before, other := n.Head(), kv.Clone()
			var foreseen []uint32
			if now.UnixMilli() == n.Time().UnixMilli() {
				var m ledger.Mempool
				for _, raw := range txs {
					foreseen = append(foreseen, ledger.Code(m.Check(n, raw)))
				}
			}
			applied, err := n.Apply(n.Height()+1, now, txs)
			if err != nil {
				t.Fatal(err)
			}
			for i, code := range foreseen {
				if got := ledger.Code(applied.Results[i]); got != code {
					t.Errorf("transaction %d: %v, the mempool foresaw code %d", i, applied.Results[i], code)
				}
			}
			referenceAgrees(t, reference, n, now, txs, applied)
			restartAgrees(t, other, kv, now, txs, applied)
			logGrew(t, n, before, applied)
			booksBalance(t, g, n)
		}
		for who, a := range reference.accounts {
			trailLeads(t, n, ledger.AccountKey(who), a.trail.count)
		}
		refoldAgrees(t, g, n, kv)
	})
}

func referenceAgrees(t *rapid.T, l *refLedger, n *ledger.State, now time.Time, txs [][]byte, got ledger.Applied) {
	codes := l.apply(now.UnixMilli(), txs)
	for i, want := range codes {
		if code := ledger.Code(got.Results[i]); code != want {
			t.Errorf("transaction %d: %v, the reference says code %d", i, got.Results[i], want)
		}
	}
	if want := l.head(); got.Head != want || got.Head.AppHash() != refAppHash(want) {
		t.Fatalf("head %+v, the reference has %+v", got.Head, want)
	}
	for id, want := range l.blocks {
		b, err := n.Block(id)
		if err != nil || b.Certified != want.certified || want.certified && b.Until.UnixMilli() != want.until {
			t.Errorf("block %+v, %v, want %+v", b, err, want)
		}
	}
	for who, want := range l.accounts {
		if a, err := n.Account(who); err != nil || a.Credits != want.credits || a.Nonce != want.highest || a.Pending != want.pending {
			t.Errorf("account %+v, %v, want %+v", a, err, want)
		}
	}
}

func restartAgrees(t *rapid.T, other, kv *ledger.Memory, now time.Time, txs [][]byte, want ledger.Applied) {
	again, err := ledger.Load(other)
	if err != nil {
		t.Fatal(err)
	}
	got, err := again.Apply(again.Height()+1, now, txs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range txs {
		if ledger.Code(got.Results[i]) != ledger.Code(want.Results[i]) {
			t.Errorf("transaction %d: %v after a restart, %v without", i, got.Results[i], want.Results[i])
		}
	}
	if got.Head != want.Head || !other.Equal(kv) {
		t.Errorf("after a restart the head is %+v, want %+v", got.Head, want.Head)
	}
}

func refoldAgrees(t *rapid.T, g ledger.Genesis, n *ledger.State, kv *ledger.Memory) {
	folded, err := ledger.Refold(g, n)
	if err != nil {
		t.Fatal(err)
	}
	if !folded.WithoutClock().Equal(kv.WithoutClock()) {
		t.Error("the state is not the fold of the log")
	}
}

func logGrew(t *rapid.T, n *ledger.State, before ledger.Head, applied ledger.Applied) {
	path, err := n.Consistency(before.Size, applied.Head.Size)
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.VerifyConsistency(before, applied.Head, path); err != nil {
		t.Error(err)
	}
	for i, e := range applied.Entries {
		index := applied.First + uint64(i)
		path, err := n.Inclusion(index, applied.Head.Size)
		if err != nil {
			t.Fatal(err)
		}
		if err := ledger.VerifyInclusion(applied.Head, index, e.Encode(), path); err != nil {
			t.Error(err)
		}
	}
}

// booksBalance adds everything up from the log.
func booksBalance(t *rapid.T, g ledger.Genesis, n *ledger.State) {
	credits := make(map[ledger.PublicKey]int64)
	for _, grant := range g.Grants {
		credits[grant.Key] = grant.Credits
	}
	granted := make(map[int64]int64) // by day
	params := g.Params
	certified := make(map[erasure.ID]uint64)
	for index := range n.Head().Size {
		e, err := n.Entry(index)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case e.Kind == ledger.EntryCertified:
			if o := e.Outcome; o.Power*3 <= o.Total*2 || o.Power > o.Total {
				t.Errorf("certified by %d of %d", o.Power, o.Total)
			}
			certified[e.Outcome.ID] = index
		case e.Kind == ledger.EntryEnacted:
			proposed, err := n.Entry(e.Enacted.Proposal)
			if err != nil || e.Enacted.Power*3 <= e.Enacted.Total*2 {
				t.Errorf("enacted by %d of %d, %v", e.Enacted.Power, e.Enacted.Total, err)
			}
			switch c := proposed.Tx.Change; c.Kind {
			case ledger.ChangeParams:
				params = c.Params
			case ledger.ChangeGrant:
				credits[c.Grant.Key] += c.Grant.Credits
			}
		case e.Kind == ledger.EntryTx && e.Tx.Kind == ledger.KindTransfer:
			credits[e.Tx.Sender] -= e.Tx.Pay + e.Tx.Transfer.Credits
			credits[e.Tx.Transfer.To] += e.Tx.Transfer.Credits
		case e.Kind == ledger.EntryTx && e.Tx.Kind != ledger.KindAnnounce:
			credits[e.Tx.Sender] -= e.Tx.Pay // and an account from now on
		case e.Kind == ledger.EntryTx:
			if _, ok := credits[e.Tx.Sender]; !ok {
				if today := e.Time.Unix() / 86400; granted[today]+params.Allowance <= params.AllowancePerDay {
					granted[today] += params.Allowance
					credits[e.Tx.Sender] = params.Allowance
				}
			}
			credits[e.Tx.Sender] -= e.Tx.Pay
		}
	}
	if n.Params() != params {
		t.Errorf("parameters %+v, want %+v", n.Params(), params)
	}
	for who, want := range credits {
		if got, err := n.Account(who); err != nil || got.Credits != want || want < 0 {
			t.Errorf("account %s has %d credits, want %d (%v)", who, got.Credits, want, err)
		}
	}

	pending, err := n.Pending()
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(map[erasure.ID]int)
	var rows int64
	for i, p := range pending {
		if i > 0 && pending[i-1].Index >= p.Index {
			t.Errorf("pending out of order: %d after %d", p.Index, pending[i-1].Index)
		}
		if !p.Deadline.IsZero() && !n.Time().Before(p.Deadline) {
			t.Errorf("pending at %s though its deadline was %s", n.Time(), p.Deadline)
		}
		if a, err := n.Account(p.Record.Publisher); err != nil || a.Pending != p.Index {
			t.Errorf("the publisher of %d has %d pending", p.Index, a.Pending)
		}
		if waiting[p.Record.ID()]++; waiting[p.Record.ID()] == 1 {
			rows += p.Record.Info.Geometry().PaddedLength()
		}
	}
	if rows != n.PendingBytes() || rows > g.Params.MaxPending {
		t.Errorf("%d bytes pending, the state says %d", rows, n.PendingBytes())
	}
	for index := range n.Head().Size {
		a, err := n.Announcement(index)
		if errors.Is(err, ledger.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := n.Block(a.Record.ID())
		if err != nil {
			t.Fatal(err)
		}
		if b.Pending != waiting[b.ID] || b.Index != certified[b.ID] || b.Certified != (b.Index != 0) {
			t.Errorf("block %+v, want %d pending and certificate %d", b, waiting[b.ID], certified[b.ID])
		}
		if (a.Status == ledger.Pending) != (a.Decision == 0) || a.Power > a.Total {
			t.Errorf("announcement %+v", a)
		}
	}
}

// trailLeads checks that the trail of what is under key has count entries, and
// that what the head says about it is proven.
func trailLeads(t *rapid.T, n *ledger.State, key []byte, count uint64) {
	value, proof, err := n.ValueAt(key, n.Head().Size)
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.VerifyValue(n.Head(), key, value, proof); err != nil {
		t.Error(err)
	}
	a, err := ledger.ParseAccount(value)
	if err != nil || a.Trail.Count != count {
		t.Errorf("trail %+v, %v, want %d entries", a.Trail, err, count)
	}
	if count == 0 {
		return
	}
	indices, err := n.Trail(key, a.Trail.Latest, int(count)+1)
	if err != nil || uint64(len(indices)) != count {
		t.Errorf("trail %v, %v, want %d entries", indices, err, count)
	}
}

// TestOrderOfIndependentTransactionsDoesNotMatter compares what two nodes know
// after the same transactions in another order: all but places in the log.
func TestOrderOfIndependentTransactionsDoesNotMatter(t *testing.T) {
	g := testGenesis()
	g.Validators = validators(3, 2, 2, 1, 1)
	a, b, c := record("a", 1000, 5), record("b", 2000, 6), record("c", 3000, 7)
	announced := [][]byte{announce(t, "alice", 1, a), announce(t, "bob", 1, b), announce(t, "carol", 1, c)}
	// Attestations in any order, and extensions of what is certified by them.
	var attested [][]byte
	for v := range g.Validators {
		for i, item := range []ledger.Attestation{to(1, a), to(2, b), to(3, c)} {
			attested = append(attested, attest(t, v, uint64(1+i), item))
		}
	}
	extended := [][]byte{
		announce(t, "alice", 2, b), announce(t, "alice", 3, c), announce(t, "bob", 2, a),
		announce(t, "carol", 5, b), announce(t, "carol", 2, c),
	}
	know := func(t rapid.TB, first, second [][]byte) string {
		s, err := ledger.Init(ledger.NewMemory(), g)
		if err != nil {
			t.Fatal(err)
		}
		for i, txs := range [][][]byte{announced, first, second} {
			applied, err := s.Apply(int64(i+1), g.Time.Add(time.Second), txs)
			if err = errors.Join(append(applied.Results, err)...); err != nil {
				t.Fatal(err)
			}
		}
		return facts(t, s, a, b, c)
	}
	want := know(t, attested, extended)
	rapid.Check(t, func(t *rapid.T) {
		got := know(t, rapid.Permutation(attested).Draw(t, "attested"), rapid.Permutation(extended).Draw(t, "extended"))
		if got != want {
			t.Errorf("in another order:\n%s\nwant:\n%s", got, want)
		}
	})
}

func facts(t rapid.TB, s *ledger.State, records ...ledger.Record) string {
	var out bytes.Buffer
	for i, r := range records {
		b, err := s.Block(r.ID())
		if err != nil {
			t.Fatal(err)
		}
		first, err := s.Announcement(uint64(1 + i))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, r.Info.Name, b.Certified, b.Until, b.Pending, first.Status, first.Power, len(first.Attesters))
	}
	for _, who := range []string{"alice", "bob", "carol", "attest 0", "attest 4"} {
		a, err := s.Account(ledger.KeyOf(key(who)))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, who, a.Credits, a.Nonce, a.Pending, a.Trail.Count)
	}
	return out.String()
}

// FuzzApply gives the state one arbitrary transaction between good ones.
func FuzzApply(f *testing.F) {
	r := record("a", 1000, 1)
	f.Add(announce(f, "bob", 1, r))
	f.Add(attest(f, 0, 1, to(1, r)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		n := newNode(t, testGenesis())
		at := n.accept(t, announce(t, "alice", 1, r))
		head := n.Head()
		if n.block(t, raw).Results[0] != nil && n.Head() != head {
			t.Error("refused and yet in the log")
		}
		for v := range 4 {
			n.block(t, attest(t, v, 2, to(at, r)))
		}
		if !n.blockState(t, r).Certified {
			t.Error("not certified")
		}
	})
}

// TestDamagedStoresDoNotPanic flips and cuts what is stored: an error or another
// answer, but no panic.
func TestDamagedStoresDoNotPanic(t *testing.T) {
	n := newNode(t, testGenesis())
	r := record("a", 1000, 1)
	at := n.accept(t, announce(t, "alice", 1, r))
	n.certify(t, 1, to(at, r))
	n.accept(t, announce(t, "bob", 1, record("b", 1000, 1)))
	n.kv.All(func(name string, value []byte) {
		for i := 0; i <= len(value); i += 1 + len(value)/5 {
			bad := bytes.Clone(value)
			if i < len(bad) {
				bad[i] ^= 0x41
			}
			for _, v := range [][]byte{bad, value[:i], {}} {
				kv := n.kv.Clone()
				if err := kv.Put([]byte(name), v); err != nil {
					t.Fatal(err)
				}
				useDamaged(t, kv, r)
			}
		}
	})
}

func useDamaged(t *testing.T, kv *ledger.Memory, r ledger.Record) {
	s, err := ledger.Load(kv)
	if err != nil {
		if !errors.Is(err, ledger.ErrCorrupt) {
			t.Errorf("load: %v, want ErrCorrupt", err)
		}
		return
	}
	_, _ = s.Block(r.ID())
	_, _ = s.Pending()
	_, _ = s.Validators()
	_, _ = s.HeadAt(1)
	_, _ = s.Inclusion(1, s.Head().Size)
	_, _ = s.Consistency(1, s.Head().Size)
	var m ledger.Mempool
	tx := attest(t, 3, 1, to(1, r))
	_ = m.Check(s, tx)
	_, _ = s.Apply(s.Height()+1, genesisTime.Add(time.Hour), [][]byte{tx, announce(t, "bob", 2, r)})
}

// TestFailingStoreStopsAtOnce lets every single write fail in turn, then starts
// again from what was stored before.
func TestFailingStoreStopsAtOnce(t *testing.T) {
	n := newNode(t, testGenesis())
	a, b := record("a", 1000, 1), record("b", 1000, 1)
	at := n.accept(t, announce(t, "alice", 1, a), announce(t, "bob", 1, b), announce(t, "carol", 1, a))
	n.accept(t, attest(t, 0, 1, to(at, a)), attest(t, 1, 1, to(at, a)))
	now := n.now.Add(testGenesis().Params.AnnounceWindow - time.Second)
	txs := [][]byte{attest(t, 2, 1, to(at, a)), announce(t, "alice", 2, record("c", 1, 1))}
	apply := func(kv ledger.KV, height int64, now time.Time, txs ...[]byte) (ledger.Applied, error) {
		s, err := ledger.Load(kv)
		if err != nil {
			t.Fatal(err)
		}
		return s.Apply(height, now, txs)
	}
	good := n.kv.Clone()
	want, err := apply(good, 3, now, txs...)
	if err != nil {
		t.Fatal(err)
	}
	last, err := apply(good, 4, now.Add(time.Second))
	if err != nil || len(last.Entries) != 1 {
		t.Fatalf("%+v, %v: bob's should expire", last, err)
	}
	for writes := 0; ; writes++ {
		broken := &breaking{n.kv.Clone(), writes}
		if _, err := apply(broken, 3, now, txs...); err == nil {
			break
		} else if !errors.Is(err, errBroken) {
			t.Fatalf("write %d: %v", writes, err)
		}
		kv := n.kv.Clone() // what was written in the transaction is not kept
		if got, err := apply(kv, 3, now, txs...); err != nil || got.Head != want.Head {
			t.Fatalf("after write %d failed: %+v, %v", writes, got, err)
		}
		broken = &breaking{kv, writes}
		if _, err := apply(broken, 4, now.Add(time.Second)); err != nil && !errors.Is(err, errBroken) {
			t.Fatalf("write %d of the next height: %v", writes, err)
		}
	}
	for writes := range 8 + 9 { // network, set, three grants, entry, its hash, state of five, its root, meta
		if _, err := ledger.Init(&breaking{ledger.NewMemory(), writes}, testGenesis()); !errors.Is(err, errBroken) {
			t.Errorf("a network began with %d writes: %v", writes, err)
		}
	}
}

var errBroken = errors.New("the disk is full")

// breaking fails all writes after the first few.
type breaking struct {
	*ledger.Memory
	writes int
}

func (b *breaking) Put(key, value []byte) error {
	if b.writes--; b.writes < 0 {
		return errBroken
	}
	return b.Memory.Put(key, value)
}
