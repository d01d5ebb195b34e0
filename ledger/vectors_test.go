package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"granary/erasure"
	"granary/ledger"
)

var update = flag.Bool("update", false, "write testdata/vectors/ledger.json anew, from the reference")

// ledgerVectors is testdata/vectors/ledger.json; the README beside it says what
// the fields mean.
type ledgerVectors struct {
	Genesis     json.RawMessage `json:"genesis"`
	GenesisHash ledger.Hash     `json:"genesis_hash"`
	Heights     []heightVector  `json:"heights"`
	Forms       []txVector      `json:"forms"`
	Shares      []shareVector   `json:"shares"`
}

type heightVector struct {
	Millis       int64       `json:"time"`
	Transactions []txVector  `json:"transactions"`
	Entries      []string    `json:"entries"`
	Size         uint64      `json:"size"`
	Root         ledger.Hash `json:"root"`
	State        ledger.Hash `json:"state"`
	AppHash      ledger.Hash `json:"app_hash"`
}

type txVector struct {
	What string `json:"what"`
	Hex  string `json:"hex"`
	Code uint32 `json:"code"`
}

type shareVector struct {
	Powers    []int64 `json:"powers"`
	K         int     `json:"k"`
	Validator int     `json:"validator"`
	Pieces    int     `json:"pieces"`
	Kept      int     `json:"kept"`
	SHA256    string  `json:"bitfield_sha256"`
}

// TestVectors compares the package and the reference with the file.
func TestVectors(t *testing.T) {
	path := filepath.Join("..", "testdata", "vectors", "ledger.json")
	want, err := json.MarshalIndent(refVectors(t), "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, want) {
		t.Errorf("%s is not what the reference gives: see -update", path)
	}
	var v ledgerVectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}

	g, err := ledger.ParseGenesis(v.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	if g.Hash() != v.GenesisHash {
		t.Errorf("genesis hash %s, want %s", g.Hash(), v.GenesisHash)
	}
	s, err := ledger.Init(ledger.NewMemory(), g)
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range v.Heights {
		checkHeight(t, s, i, h)
	}
	for _, f := range v.Forms {
		if _, err := ledger.ParseTx(unhex(t, f.Hex)); ledger.Code(err) != f.Code {
			t.Errorf("%s: %v, want code %d", f.What, err, f.Code)
		}
	}
	for _, x := range v.Shares {
		got := ledger.Share(g.ChainID, validators(x.Powers...), x.Validator, geometry(t, x.K))
		if digest := sha256.Sum256(got.Bytes()); got.Count() != x.Kept || hex.EncodeToString(digest[:]) != x.SHA256 {
			t.Errorf("share %+v: %d pieces, %x", x, got.Count(), digest)
		}
	}
}

func checkHeight(t *testing.T, s *ledger.State, i int, h heightVector) {
	t.Helper()
	if i > 0 {
		var txs [][]byte
		for _, tx := range h.Transactions {
			txs = append(txs, unhex(t, tx.Hex))
		}
		applied, err := s.Apply(int64(i), time.UnixMilli(h.Millis), txs)
		if err != nil {
			t.Fatal(err)
		}
		for j, tx := range h.Transactions {
			if got := ledger.Code(applied.Results[j]); got != tx.Code {
				t.Errorf("height %d, %s: %v, want code %d", i, tx.What, applied.Results[j], tx.Code)
			}
		}
	}
	if got := s.Head(); got.Size != h.Size || got.Root != h.Root || got.State != h.State || got.AppHash() != h.AppHash {
		t.Fatalf("height %d: head %+v, want %+v", i, got, h)
	}
	for j, want := range h.Entries {
		leaf, err := s.Leaf(h.Size - uint64(len(h.Entries)-j))
		if err != nil || hex.EncodeToString(leaf) != want {
			t.Errorf("height %d, entry %d: %x, %v, want %s", i, j, leaf, err, want)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// refVectors makes the file's contents with the reference. Only the signatures
// come from the package: ed25519 leaves no choice.
func refVectors(t *testing.T) ledgerVectors {
	g := ledger.Genesis{
		ChainID: testChain, Time: genesisTime, Validators: validators(3, 2, 2, 1),
		Params: ledger.DefaultParams(),
		Grants: []ledger.Grant{{Key: ledger.KeyOf(key("alice")), Credits: 1e12}, {Key: ledger.KeyOf(key("bob")), Credits: 5_000}},
	}
	g.Params.Allowance, g.Params.AllowancePerDay, g.Params.Fee = 2_000, 3_000, 1_000
	v := ledgerVectors{Genesis: g.Encode(), GenesisHash: refGenesisHash(g)}
	l := newRefLedger(g)
	now := g.Time
	height := func(later time.Duration, txs ...txVector) {
		now = now.Add(later)
		before := len(l.entries)
		h := heightVector{Millis: now.UnixMilli(), Transactions: append([]txVector{}, txs...), Entries: []string{}}
		if len(v.Heights) == 0 {
			before = 0
		} else {
			var raw [][]byte
			for _, tx := range txs {
				raw = append(raw, unhex(t, tx.Hex))
			}
			for i, code := range l.apply(h.Millis, raw) {
				h.Transactions[i].Code = code
			}
		}
		for _, e := range l.entries[before:] {
			h.Entries = append(h.Entries, hex.EncodeToString(e))
		}
		head := l.head()
		h.Size, h.Root, h.State, h.AppHash = head.Size, head.Root, head.State, refAppHash(head)
		v.Heights = append(v.Heights, h)
	}
	announces := func(what, who string, nonce uint64, r ledger.Record) txVector {
		return txVector{What: what, Hex: hex.EncodeToString(announce(t, who, nonce, r))}
	}
	attests := func(what string, validator int, nonce uint64, list ...ledger.Attestation) txVector {
		return txVector{What: what, Hex: hex.EncodeToString(attest(t, validator, nonce, list...))}
	}
	a, b, c := record("a.bin", 1_000_000, 30), record("b.bin", 1_000, 3), record("c.bin", 2_000, 1)
	flipped := announce(t, "alice", 2, b)
	flipped[len(flipped)-1] ^= 1

	height(0)
	height(time.Second,
		announces("alice announces a at entry 1", "alice", 1, a),
		announces("the same nonce", "alice", 1, b),
		announces("one record at a time", "alice", 2, b),
		txVector{What: "signed for another chain", Hex: hex.EncodeToString(announceElsewhere(t, "bob", 1, b))},
		announces("bob has not that much", "bob", 1, record("d.bin", 1_000, 6)),
		announces("bob announces b at entry 2", "bob", 2, b),
		announces("carol, a newcomer, announces c at entry 3", "carol", 1, c),
		announces("no allowance is left for dave", "dave", 1, c),
	)
	height(time.Hour,
		attests("validator 0 attests a and b", 0, 1, to(1, a), to(2, b)),
		attests("validator 1 attests a", 1, 1, to(1, a)),
		attests("twice", 1, 2, to(1, a)),
		attests("of power 3 + 2 + 2 more than 2/3 of 8: a is certified", 2, 1, to(1, a)),
		attests("late", 3, 1, to(1, a)),
		attests("another ID", 3, 2, to(2, a)),
		txVector{What: "a stranger", Hex: hex.EncodeToString(attestAs(t, "alice", 2, to(2, b)))},
	)
	height(10*time.Minute-time.Millisecond,
		announces("alice announces b too, at entry 9", "alice", 3, b),
		txVector{What: "a bad signature, and a reason that is cheaper to see", Hex: hex.EncodeToString(flipped)},
	)
	height(time.Millisecond,
		attests("the b of bob has expired, and so has c", 1, 3, to(2, b)),
		attests("the b of alice has not", 1, 3, to(2, b), to(9, b)),
		attests("nor is it certified yet", 0, 2, to(9, b)),
	)
	height(time.Minute,
		attests("b is certified", 3, 3, to(9, b)),
		announces("b is kept for a day more", "bob", 3, func() ledger.Record { r := b; r.Keep = 1; return r }()),
		announces("too long", "alice", 4, func() ledger.Record { r := a; r.Keep = 3650; return r }()),
	)
	height(time.Minute)
	other := func(what, who string, nonce uint64, tx ledger.Tx) txVector {
		return txVector{What: what, Hex: hex.EncodeToString(sign(t, who, nonce, tx))}
	}
	moves := func(pay, credits int64) ledger.Tx {
		return ledger.Tx{Kind: ledger.KindTransfer, Pay: pay, Transfer: ledger.Transfer{To: ledger.KeyOf(key("erin")), Credits: credits}}
	}
	names := func(pay int64, n ledger.Naming) ledger.Tx {
		return ledger.Tx{Kind: ledger.KindName, Pay: pay, Naming: n}
	}
	proposes := func(c ledger.Change) ledger.Tx { return ledger.Tx{Kind: ledger.KindPropose, Change: c} }
	votes := func(at uint64, approve bool) ledger.Tx {
		return ledger.Tx{Kind: ledger.KindVote, Vote: ledger.Vote{Proposal: at, Approve: approve}}
	}
	height(time.Minute,
		other("alice gives erin 20,000,000,000", "alice", 5, moves(1_000, 2e10)),
		other("bob has not that much", "bob", 4, moves(1_000, 2e10)),
		other("a transfer that pays no fee", "alice", 6, moves(0, 1)),
		other("one that pays too much", "alice", 6, moves(1_001, 1)),
		other("erin takes a name, which points at a", "erin", 1, names(1e10, ledger.Naming{Name: "archive", Terms: 1, Target: a.ID()})),
		other("another's name", "alice", 6, names(1_000, ledger.Naming{Name: "archive", Target: b.ID()})),
		other("the wrong price", "erin", 2, names(1e10-1, ledger.Naming{Name: "other", Terms: 1})),
		other("a block that was never announced", "erin", 2, names(1_000, ledger.Naming{Name: "archive", Target: record("d.bin", 1, 1).ID()})),
		other("erin gives it to alice", "erin", 2, names(1_000, ledger.Naming{Name: "archive", Target: b.ID(), Owner: ledger.KeyOf(key("alice"))})),
	)
	inName := record("e.bin", 1_000, 1)
	inName.Namespace = "archive"
	at := uint64(len(l.entries))
	joins := validators(3, 2, 2, 1, 4)[4]
	unproven := joins
	unproven.Proof = validators(1)[0].Proof
	params := g.Params
	params.NameCost, params.Fee = 7, 2_000
	fixed := params
	fixed.Custody = 5
	height(time.Minute,
		announces("erin announces in a namespace that is not hers", "erin", 3, inName),
		announces("alice does in hers", "alice", 6, inName),
		other("a stranger proposes", "alice", 7, proposes(ledger.Change{Kind: ledger.ChangeRemove, Remove: joins.Consensus})),
		other("custody is fixed", "attest 0", 3, proposes(ledger.Change{Kind: ledger.ChangeParams, Params: fixed})),
		other("whose attest key does not say so", "attest 0", 3, proposes(ledger.Change{Kind: ledger.ChangeValidator, Validator: unproven})),
		other("validator 0 proposes a fifth", "attest 0", 3, proposes(ledger.Change{Kind: ledger.ChangeValidator, Validator: joins})),
		other("validator 1 proposes other parameters", "attest 1", 4, proposes(ledger.Change{Kind: ledger.ChangeParams, Params: params})),
		other("validator 3 proposes a grant", "attest 3", 4, proposes(ledger.Change{Kind: ledger.ChangeGrant, Grant: ledger.Grant{Key: ledger.KeyOf(key("frank")), Credits: 500}})),
		other("validator 1 agrees to the first: 5 of 8", "attest 1", 5, votes(at+1, true)),
		other("again", "attest 1", 6, votes(at+1, true)),
		other("validator 3 agrees: 6 of 8, it joins", "attest 3", 5, votes(at+1, true)),
		other("too late", "attest 2", 2, votes(at+1, true)),
		other("the fifth agrees to the second, with 4: 6 of 12", "attest 4", 1, votes(at+2, true)),
		other("validator 0 agrees: 9 of 12", "attest 0", 4, votes(at+2, true)),
		other("validator 3 takes its word back", "attest 3", 6, votes(at+3, false)),
		other("validator 2 names a key that says it is of validator 1", "attest 2", 2, rotating("consensus 1", "attest 9")),
		other("validator 2 has another attest key from now on", "attest 2", 2, rotating("consensus 2", "attest 9")),
		other("the new fee is more than ten terms cost now", "alice", 7, names(2_000, ledger.Naming{Name: "cheap", Terms: 10})),
	)
	height(time.Minute,
		attests("the fifth came too late for what alice announced", 4, 2, to(at, inName)),
		attests("the old key of validator 2", 2, 3, to(at, inName)),
		attests("its new key", 9, 1, to(at, inName)),
		attests("of 8: certified", 0, 5, to(at, inName)),
		attests("it was, by 2 + 3 + 2", 1, 6, to(at, inName)),
		other("alice offers what a byte for a day costs", "alice", 8, ledger.Tx{Kind: ledger.KindAnnounce, Pay: 1, Record: record("f.bin", 1, 1)}),
		other("but no less than the fee", "alice", 8, ledger.Tx{Kind: ledger.KindAnnounce, Pay: 2_000, Record: record("f.bin", 1, 1)}),
		other("validator 2 changes its key again", "attest 9", 2, rotating("consensus 2", "attest 20")),
		other("and again", "attest 20", 1, rotating("consensus 2", "attest 21")),
		other("a fourth time today: its 64th word", "attest 21", 1, rotating("consensus 2", "attest 22")),
		other("it has said enough today", "attest 22", 1, proposes(ledger.Change{Kind: ledger.ChangeRemove, Remove: joins.Consensus})),
		other("validator 0 proposes that 3 leaves", "attest 0", 6, proposes(ledger.Change{Kind: ledger.ChangeRemove, Remove: validators(1, 1, 1, 1)[3].Consensus})),
	)

	for _, f := range []struct {
		what string
		raw  []byte
	}{
		{"an announcement", announce(t, "alice", 1, a)},
		{"attestations", attest(t, 0, 1, to(1, a), to(9, b))},
		{"the longest announcement", announce(t, "alice", 1<<64-1, longest())},
		{"empty", []byte{}},
		{"too long", make([]byte, 4097)},
		{"a byte after the end", append(announce(t, "alice", 1, a), 0)},
		{"a transfer", sign(t, "alice", 1, moves(1, 1))},
		{"attestations that are paid for", envelopeFor(t, "alice", 2, 1, 1, []any{[]any{1, make([]byte, 32)}})},
		{"a payment below 0", envelopeFor(t, "alice", 3, 1, -1, []any{make([]byte, 32), 1})},
		{"a payment of 2^62 + 1", envelopeFor(t, "alice", 3, 1, 1<<62+1, []any{make([]byte, 32), 1})},
		{"a transfer of nothing", envelope(t, "alice", 3, 1, []any{make([]byte, 32), 0})},
		{"a name", sign(t, "alice", 1, names(1, ledger.Naming{Name: "a-1", Terms: 10, Target: a.ID(), Owner: ledger.KeyOf(key("bob"))}))},
		{"a name that ends with a hyphen", envelope(t, "alice", 4, 1, []any{"a-", 1, []byte{}, []byte{}})},
		{"a name to which nothing is done", envelope(t, "alice", 4, 1, []any{"a", 0, []byte{}, []byte{}})},
		{"a name given to a key of zeros", envelope(t, "alice", 4, 1, []any{"a", 1, []byte{}, make([]byte, 32)})},
		{"a proposal of parameters", sign(t, "alice", 1, proposes(ledger.Change{Kind: ledger.ChangeParams, Params: params}))},
		{"a proposal of kind 5", envelope(t, "alice", 5, 1, []any{5, []byte{0x80}})},
		{"a vote", sign(t, "alice", 1, votes(1, true))},
		{"a vote of 2", envelope(t, "alice", 6, 1, []any{1, 2})},
		{"a rotation", sign(t, "alice", 1, rotating("consensus 0", "bob"))},
		{"a rotation without a proof", envelope(t, "alice", 7, 1, []any{aliceKey(t)})},
		{"a rotation to the same key", envelope(t, "alice", 7, 1, []any{aliceKey(t), make([]byte, 64)})},
		{"kind 8", envelope(t, "alice", 8, 1, []any{})},
		{"record version 2", envelope(t, "alice", 1, 1, array(t, changed(payload(a), 0, 2)...))},
		{"an ID that does not follow", envelope(t, "alice", 1, 1, array(t, changed(payload(a), 3, 999_999)...))},
		{"a name with a slash", envelope(t, "alice", 1, 1, array(t, changed(payload(a), 2, "a/b")...))},
		{"keep of 3,651 days", envelope(t, "alice", 1, 1, array(t, changed(payload(a), 7, 3651)...))},
		{"a namespace", envelope(t, "alice", 1, 1, array(t, changed(payload(a), 8, "ethereum")...))},
		{"a namespace in capitals", envelope(t, "alice", 1, 1, array(t, changed(payload(a), 8, "ETH")...))},
		{"five peers", envelope(t, "alice", 1, 1, array(t, changed(payload(a), 9, [][]byte{{1}, {2}, {3}, {4}, {5}})...))},
		{"the same peer twice", envelope(t, "alice", 1, 1, array(t, changed(payload(a), 9, [][]byte{{1}, {1}})...))},
		{"keep in three bytes", envelope(t, "alice", 1, 1, array(t, changed(payload(a), 7, cbor.RawMessage{0x19, 0, 30})...))},
		{"peers of indefinite length", envelope(t, "alice", 1, 1, array(t, changed(payload(a), 9, cbor.RawMessage{0x9f, 0xff})...))},
		{"length as a float", envelope(t, "alice", 1, 1, array(t, changed(payload(a), 3, 1e6)...))},
		{"nothing attested", envelope(t, "alice", 2, 1, []any{})},
		{"attested twice", envelope(t, "alice", 2, 1, []any{[]any{1, make([]byte, 32)}, []any{1, make([]byte, 32)}})},
		{"attested out of order", envelope(t, "alice", 2, 1, []any{[]any{2, make([]byte, 32)}, []any{1, make([]byte, 32)}})},
	} {
		_, code := refForm(f.raw)
		v.Forms = append(v.Forms, txVector{f.what, hex.EncodeToString(f.raw), code})
	}
	for _, x := range []shareVector{
		{Powers: []int64{1, 1, 1, 1}, K: 1000, Validator: 2},
		{Powers: []int64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, K: 255, Validator: 0},
		{Powers: []int64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, K: 256, Validator: 0},
		{Powers: []int64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, K: 256, Validator: 9},
		{Powers: []int64{100, 50, 33, 25, 20, 16, 14, 12, 11, 10, 900, 900, 900}, K: 513, Validator: 3},
		{Powers: []int64{100, 50, 33, 25, 20, 16, 14, 12, 11, 10, 900, 900, 900}, K: 16384, Validator: 10},
		{Powers: []int64{1, 1 << 47, 1 << 47, 1 << 47, 1 << 47, 1 << 47, 1 << 47, 1 << 47}, K: 16384, Validator: 1},
	} {
		geom := geometry(t, x.K)
		share := refShare(testChain, validators(x.Powers...), x.Validator, geom)
		digest := sha256.Sum256(share.Bytes())
		x.Pieces, x.Kept, x.SHA256 = geom.Pieces(), share.Count(), hex.EncodeToString(digest[:])
		v.Shares = append(v.Shares, x)
	}
	return v
}

func aliceKey(t *testing.T) []byte {
	t.Helper()
	alice := ledger.KeyOf(key("alice"))
	return alice[:]
}

func changed(list []any, i int, v any) []any {
	list[i] = v
	return list
}

func longest() ledger.Record {
	r := record(string(bytes.Repeat([]byte("n"), 200)), erasure.MaxLength, ledger.MaxKeep)
	r.Peers = nil
	for i := range ledger.MaxPeers {
		r.Peers = append(r.Peers, bytes.Repeat([]byte{byte(i)}, ledger.MaxPeerID))
	}
	return r
}

func announceElsewhere(t *testing.T, who string, nonce uint64, r ledger.Record) []byte {
	t.Helper()
	raw, err := ledger.SignAnnounce("granary-other", key(who), nonce, r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func attestAs(t *testing.T, who string, nonce uint64, list ...ledger.Attestation) []byte {
	t.Helper()
	raw, err := ledger.SignAttest(testChain, key(who), nonce, list)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
