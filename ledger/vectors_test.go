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
	if got := s.Head(); got.Size != h.Size || got.Root != h.Root || got.AppHash() != h.AppHash {
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
	g.Params.Allowance, g.Params.AllowancePerDay = 2_000, 3_000
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
		h.Size, h.Root, h.AppHash = head.Size, head.Root, refAppHash(head)
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
		{"transfer, reserved", envelope(t, "alice", 3, 1, []any{})},
		{"vote, reserved", envelope(t, "alice", 6, 1, cbor.RawMessage{0xf6})},
		{"kind 7", envelope(t, "alice", 7, 1, []any{})},
		{"record version 2", envelope(t, "alice", 1, 1, array(t, changed(payload(a), 0, 2)...))},
		{"an ID that does not follow", envelope(t, "alice", 1, 1, array(t, changed(payload(a), 3, 999_999)...))},
		{"a name with a slash", envelope(t, "alice", 1, 1, array(t, changed(payload(a), 2, "a/b")...))},
		{"keep of 3,651 days", envelope(t, "alice", 1, 1, array(t, changed(payload(a), 7, 3651)...))},
		{"a namespace, reserved", envelope(t, "alice", 1, 1, array(t, changed(payload(a), 8, "ethereum")...))},
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
