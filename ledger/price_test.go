package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"granary/ledger"
)

const testFee = 5_000

// paying is a node where transactions cost a fee, and alice has so many credits.
func paying(t testing.TB, credits int64) *node {
	t.Helper()
	g := testGenesis()
	g.Params.Fee = testFee
	g.Grants[0].Credits = credits
	return newNode(t, g)
}

// paid signs a transaction that pays what it costs.
func (n *node) paid(t testing.TB, who string, nonce uint64, tx ledger.Tx) []byte {
	t.Helper()
	tx.Pay = n.Params().Price(tx)
	return sign(t, who, nonce, tx)
}

func moving(to string, credits int64) ledger.Tx {
	return ledger.Tx{Kind: ledger.KindTransfer, Transfer: ledger.Transfer{To: ledger.KeyOf(key(to)), Credits: credits}}
}

func announcing(r ledger.Record) ledger.Tx { return ledger.Tx{Kind: ledger.KindAnnounce, Record: r} }

func pointing(n ledger.Naming) ledger.Tx { return ledger.Tx{Kind: ledger.KindName, Naming: n} }

func TestPriceIsTheFeeAtLeast(t *testing.T) {
	p := testGenesis().Params
	p.Fee, p.NameCost = testFee, testFee/2
	a := record("a", 1, 1)
	for what, c := range map[string]struct {
		tx   ledger.Tx
		want int64
	}{
		"a byte for a day":          {announcing(a), testFee},
		"as much as the fee":        {announcing(record("a", testFee, 1)), testFee},
		"more than the fee":         {announcing(record("a", testFee, 2)), 2 * testFee},
		"a transfer":                {moving("bob", 1e15), testFee},
		"a name pointed":            {pointing(ledger.Naming{Name: "x", Target: a.ID()}), testFee},
		"a term for less":           {pointing(ledger.Naming{Name: "x", Terms: 1}), testFee},
		"terms for more":            {pointing(ledger.Naming{Name: "x", Terms: 5}), 5 * testFee / 2},
		"attestations":              {ledger.Tx{Kind: ledger.KindAttest}, 0},
		"what validators are to do": {ledger.Tx{Kind: ledger.KindPropose}, 0},
	} {
		if got := p.Price(c.tx); got != c.want {
			t.Errorf("%s costs %d, want %d", what, got, c.want)
		}
	}
}

func TestFeeIsTakenAndBurned(t *testing.T) {
	n := paying(t, 10*testFee)
	a := record("a", 1000, 1)
	n.accept(t, n.paid(t, "alice", 1, announcing(a)))
	n.accept(t, n.paid(t, "alice", 2, moving("dave", 7)))
	if alice, dave := n.account(t, "alice"), n.account(t, "dave"); alice.Credits != 8*testFee-7 || alice.Trail.Count != 2 || dave.Credits != 7 {
		t.Errorf("alice %+v, dave %+v", alice, dave)
	}
	// Less, more, or nothing is not the price; nor can somebody pay who has less.
	for _, pay := range []int64{0, testFee - 1, testFee + 1} {
		tx := moving("dave", 1)
		tx.Pay = pay
		n.refuse(t, sign(t, "alice", 3, tx), ledger.ErrPrice)
	}
	n.refuse(t, n.paid(t, "dave", 1, moving("alice", 1)), ledger.ErrCredits)
	n.refuse(t, n.paid(t, "alice", 3, moving("dave", 7*testFee-6)), ledger.ErrCredits)
	n.accept(t, n.paid(t, "alice", 3, moving("dave", 7*testFee-7)))
	if alice := n.account(t, "alice"); alice.Credits != 0 {
		t.Errorf("alice has %d", alice.Credits)
	}
}

func TestNewcomersPayOfTheirAllowance(t *testing.T) {
	g := testGenesis()
	g.Params.Fee, g.Params.Allowance, g.Params.AllowancePerDay = testFee, 3*testFee, 4*testFee
	n := newNode(t, g)
	n.refuse(t, n.paid(t, "dave", 1, moving("erin", 1)), ledger.ErrCredits) // it is for announcing
	n.accept(t, n.paid(t, "dave", 1, announcing(record("a", 1000, 1))))
	n.accept(t, n.paid(t, "dave", 2, moving("erin", testFee)))
	if dave := n.account(t, "dave"); dave.Credits != 0 {
		t.Errorf("dave has %d", dave.Credits)
	}
	n.refuse(t, n.paid(t, "frank", 1, announcing(record("b", 1000, 1))), ledger.ErrCredits) // not today
}

// TestFloodIsBoundedByWhatItCosts has somebody with credits for a hundred
// transactions fill the log as cheaply as possible, in each way that there is.
func TestFloodIsBoundedByWhatItCosts(t *testing.T) {
	const affordable = 100
	kept := record("kept", 1, 1)
	floods := map[string]func(i int) (who string, nonce uint64, tx ledger.Tx){
		"one credit along fresh keys": func(i int) (string, uint64, ledger.Tx) {
			from := fmt.Sprintf("fresh %d", i-1)
			if i == 0 {
				from = "alice"
			}
			return from, 1, moving(fmt.Sprintf("fresh %d", i), int64(affordable-1-i)*testFee)
		},
		"a name that points to and fro": func(i int) (string, uint64, ledger.Tx) {
			return "alice", uint64(i + 1), pointing(ledger.Naming{Name: "x", Target: kept.ID()})
		},
		"days of keep of one byte": func(i int) (string, uint64, ledger.Tx) {
			return "alice", uint64(i + 1), announcing(kept)
		},
	}
	for what, flood := range floods {
		t.Run(what, func(t *testing.T) {
			n := paying(t, affordable*testFee)
			at := n.accept(t, n.paid(t, "bob", 1, announcing(kept)))
			n.certify(t, 1, to(at, kept))
			n.accept(t, n.paid(t, "bob", 2, pointing(ledger.Naming{Name: "x", Terms: 1, Owner: ledger.KeyOf(key("alice"))})))
			before, accepted := n.Head().Size, 0
			for i := range 2 * affordable {
				who, nonce, tx := flood(i)
				if tx.Kind == ledger.KindTransfer {
					tx.Transfer.Credits = max(tx.Transfer.Credits, 1)
				}
				if n.block(t, n.paid(t, who, nonce, tx)).Results[0] == nil {
					accepted++
				}
			}
			if grown := n.Head().Size - before; grown > affordable || accepted < affordable-1 {
				t.Errorf("%d accepted, %d entries, want what %d fees pay for", accepted, grown, affordable)
			}
		})
	}
}

// BenchmarkStoreOfTransfers reports what a transfer leaves in the store, with as
// many accounts as there were transfers before.
func BenchmarkStoreOfTransfers(b *testing.B) {
	n := paying(b, 1<<60)
	bytes := func() (sum int) {
		n.kv.All(func(k string, v []byte) { sum += len(k) + len(v) })
		return sum
	}
	const accounts = 10_000
	nonce := uint64(0)
	move := func() {
		nonce++
		n.blockAfter(b, time.Second, n.paid(b, "alice", nonce, moving(fmt.Sprint("fresh ", nonce), 1)))
	}
	for range accounts {
		move()
	}
	before, moved := bytes(), 0
	for b.Loop() {
		move()
		moved++
	}
	b.ReportMetric(float64(bytes()-before)/float64(moved), "stored-B/op")
}
