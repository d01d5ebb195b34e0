package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"granary/erasure"
	"granary/ledger"
)

// encode is a CBOR encoder of no discipline: tests write with it what they like.
func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// array encodes a short array whose elements may be raw CBOR, well-formed or not.
func array(t testing.TB, elements ...any) cbor.RawMessage {
	t.Helper()
	b := []byte{0x80 | byte(len(elements))}
	if len(elements) > 23 {
		t.Fatalf("array of %d", len(elements))
	}
	for _, e := range elements {
		raw, ok := e.(cbor.RawMessage)
		if !ok {
			raw = encode(t, e)
		}
		b = append(b, raw...)
	}
	return b
}

// envelope signs any body for the test chain, as docs/spec/ledger.md says.
func envelope(t testing.TB, who string, kind ledger.Kind, nonce uint64, payload any) []byte {
	t.Helper()
	return envelopeFor(t, who, kind, nonce, 0, payload)
}

func envelopeFor(t testing.TB, who string, kind ledger.Kind, nonce uint64, pay, payload any) []byte {
	t.Helper()
	sender := ledger.KeyOf(key(who))
	raw, ok := payload.(cbor.RawMessage)
	if !ok {
		raw = encode(t, payload)
	}
	body := array(t, kind, nonce, sender[:], pay, []byte(raw))
	signed := append([]byte("granary/tx/v1\x0cgranary-test"), body...)
	return encode(t, [][]byte{body, ed25519.Sign(key(who), signed)})
}

// payload is the array that an announcement of r carries.
func payload(r ledger.Record) []any {
	id := r.ID()
	peers := [][]byte{}
	for _, p := range r.Peers {
		peers = append(peers, p)
	}
	i := r.Info
	return []any{1, id[:], i.Name, i.Length, i.Content[:], i.Parity[:], i.ProofHash[:], r.Keep, r.Namespace, peers}
}

func TestSignedTransactionsParse(t *testing.T) {
	r := record("a", 5, 3)
	raw := announce(t, "alice", 7, r)
	tx, err := ledger.ParseTx(raw)
	if err != nil {
		t.Fatal(err)
	}
	alice := ledger.KeyOf(key("alice"))
	if tx.Kind != ledger.KindAnnounce || tx.Nonce != 7 || tx.Sender != alice || tx.Record.Publisher != alice {
		t.Errorf("%+v", tx)
	}
	if got := tx.Record; got.Info != r.Info || got.Keep != 3 || len(got.Peers) != 1 || !bytes.Equal(got.Peers[0], r.Peers[0]) {
		t.Errorf("record %+v, want %+v", got, r)
	}
	if !bytes.Equal(tx.Encode(), raw) {
		t.Error("encodes to other bytes")
	}
	if err := tx.Verify(testChain); err != nil {
		t.Error(err)
	}
	// The specification's own words give the same bytes.
	if want := envelopeFor(t, "alice", ledger.KindAnnounce, 7, r.Cost(), array(t, payload(r)...)); !bytes.Equal(raw, want) {
		t.Errorf("announcement\n%x, want\n%x", raw, want)
	}

	list := []ledger.Attestation{to(3, r), to(1<<40, record("b", 1, 1))}
	raw = attest(t, 0, 1, list...)
	if tx, err = ledger.ParseTx(raw); err != nil {
		t.Fatal(err)
	}
	if tx.Kind != ledger.KindAttest || len(tx.Attested) != 2 || tx.Attested[1] != list[1] || !bytes.Equal(tx.Encode(), raw) {
		t.Errorf("%+v", tx)
	}
}

// TestTheLargestTransactionsFit says that the limit is never the reason.
func TestTheLargestTransactionsFit(t *testing.T) {
	r := record(strings.Repeat("n", 200), erasure.MaxLength, ledger.MaxKeep)
	r.Peers = nil
	for i := range ledger.MaxPeers {
		r.Peers = append(r.Peers, bytes.Repeat([]byte{byte(i)}, ledger.MaxPeerID))
	}
	var list []ledger.Attestation
	for i := range uint64(ledger.MaxAttestations) {
		list = append(list, to(1<<63+i, r))
	}
	for what, raw := range map[string][]byte{
		"announcement": announce(t, "alice", 1<<63, r),
		"attestation":  attest(t, 0, 1<<63, list...),
	} {
		if _, err := ledger.ParseTx(raw); err != nil || len(raw) > 1024 {
			t.Errorf("%s of %d bytes: %v", what, len(raw), err)
		}
	}
}

func TestSigningRefusesWhatParsingWould(t *testing.T) {
	for name, change := range map[string]func(*ledger.Record){
		"no name":      func(r *ledger.Record) { r.Info.Name = "" },
		"path as name": func(r *ledger.Record) { r.Info.Name = "a/b" },
		"no length":    func(r *ledger.Record) { r.Info.Length = 0 },
		"negative":     func(r *ledger.Record) { r.Info.Length = -1 },
		"long":         func(r *ledger.Record) { r.Info.Length = erasure.MaxLength + 1 },
		"no keep":      func(r *ledger.Record) { r.Keep = 0 },
		"long keep":    func(r *ledger.Record) { r.Keep = ledger.MaxKeep + 1 },
		"five peers":   func(r *ledger.Record) { r.Peers = []ledger.PeerID{{1}, {2}, {3}, {4}, {5}} },
		"peer twice":   func(r *ledger.Record) { r.Peers = []ledger.PeerID{{1}, {1}} },
		"empty peer":   func(r *ledger.Record) { r.Peers = []ledger.PeerID{{}} },
		"long peer":    func(r *ledger.Record) { r.Peers = []ledger.PeerID{make([]byte, 65)} },
	} {
		r := record("a", 1000, 1)
		change(&r)
		if _, err := ledger.SignAnnounce(testChain, key("alice"), 1, r); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	r := record("a", 1, 1)
	for name, list := range map[string][]ledger.Attestation{
		"none":       nil,
		"twice":      {to(1, r), to(1, r)},
		"descending": {to(2, r), to(1, r)},
		"seventeen":  make([]ledger.Attestation, ledger.MaxAttestations+1),
	} {
		if _, err := ledger.SignAttest(testChain, attestKey(0), 1, list); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("attest %s: %v, want ErrMalformed", name, err)
		}
	}
	for _, chain := range []string{"", "Upper", "a b", strings.Repeat("c", 51)} {
		if _, err := ledger.SignAnnounce(chain, key("alice"), 1, r); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("chain ID %q: %v, want ErrMalformed", chain, err)
		}
	}
}

// TestBadTransactionsAreRefusedWithTheirReason signs what nobody should: the
// signature is right, the transaction is not.
func TestBadTransactionsAreRefusedWithTheirReason(t *testing.T) {
	n := newNode(t, testGenesis())
	r := record("a", 1000, 1)
	good := payload(r)
	with := func(i int, v any) []any {
		bad := append([]any{}, good...)
		bad[i] = v
		return bad
	}
	id := r.ID()
	item := []any{1, id[:]}
	malformed := ledger.ErrMalformed
	for name, c := range map[string]struct {
		kind    ledger.Kind
		payload any
		want    error
	}{
		"kind 0":                {0, good, malformed},
		"kind 8":                {8, good, malformed},
		"huge kind":             {1<<64 - 1, good, malformed},
		"record version 2":      {1, with(0, 2), ledger.ErrNotYet},
		"another ID":            {1, with(1, make([]byte, 32)), ledger.ErrID},
		"another name":          {1, with(2, "b"), ledger.ErrID},
		"another length":        {1, with(3, 1001), ledger.ErrID},
		"another content root":  {1, with(4, make([]byte, 32)), ledger.ErrID},
		"another parity root":   {1, with(5, make([]byte, 32)), ledger.ErrID},
		"another proof hash":    {1, with(6, make([]byte, 32)), ledger.ErrID},
		"short ID":              {1, with(1, id[:31]), malformed},
		"long ID":               {1, with(1, append(id[:], 0)), malformed},
		"name as bytes":         {1, with(2, []byte("a")), malformed},
		"name not UTF-8":        {1, with(2, cbor.RawMessage("\x61\xff")), malformed},
		"negative length":       {1, with(3, -5), malformed},
		"length 0":              {1, with(3, 0), malformed},
		"length as float":       {1, with(3, 1000.0), malformed},
		"length in 9 bytes":     {1, with(3, cbor.RawMessage("\x1b\x00\x00\x00\x00\x00\x00\x03\xe8")), malformed},
		"keep 0":                {1, with(7, 0), malformed},
		"keep 2^32":             {1, with(7, 1<<32), malformed},
		"a namespace":           {1, with(8, "ethereum"), ledger.ErrNotOwner},
		"no namespace":          {1, with(8, "Ethereum"), malformed},
		"null peers":            {1, with(9, nil), malformed},
		"peers as map":          {1, with(9, map[int]int{}), malformed},
		"indefinite peers":      {1, with(9, cbor.RawMessage("\x9f\xff")), malformed},
		"4 billion peers":       {1, with(9, cbor.RawMessage("\x9a\xff\xff\xff\xff")), malformed},
		"a tag":                 {1, with(3, cbor.Tag{Number: 1, Content: 1000}), malformed},
		"a field more":          {1, append(append([]any{}, good...), 0), malformed},
		"a field less":          {1, good[:9], malformed},
		"no array":              {1, 5, malformed},
		"null":                  {1, nil, malformed},
		"attest as announce":    {1, []any{item}, malformed},
		"announce as attest":    {2, good, malformed},
		"nothing attested":      {2, []any{}, malformed},
		"attested twice":        {2, []any{item, item}, malformed},
		"item of one":           {2, []any{[]any{1}}, malformed},
		"item of three":         {2, []any{[]any{1, id[:], 0}}, malformed},
		"negative index":        {2, []any{[]any{-1, id[:]}}, malformed},
		"17 attested":           {2, make([]any, 17), malformed},
		"4 billion attested":    {2, cbor.RawMessage("\x9a\xff\xff\xff\xff"), malformed},
		"attested, 64 levels":   {2, cbor.RawMessage(strings.Repeat("\x81", 64) + "\x01"), malformed},
		"oversized transaction": {2, make([]byte, ledger.MaxTx), malformed},
	} {
		if list, ok := c.payload.([]any); ok {
			c.payload = array(t, list...)
		}
		pay := int64(0)
		if c.kind == ledger.KindAnnounce {
			pay = r.Cost()
		}
		raw := envelopeFor(t, "alice", c.kind, 1, pay, c.payload)
		before := n.Head()
		if err := n.block(t, raw).Results[0]; !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if n.Head() != before {
			t.Errorf("%s: moved the head", name)
		}
	}
	n.accept(t, envelopeFor(t, "alice", 1, 1, r.Cost(), array(t, good...)))
}

func TestNoByteOfATransactionCanChange(t *testing.T) {
	for _, raw := range [][]byte{
		announce(t, "alice", 1, record("a", 1000, 1)), attest(t, 0, 1, to(1, record("a", 1000, 1))), transfer(t, "alice", 1, "bob", 1),
		naming(t, "alice", 1, ledger.Naming{Name: "x", Terms: 1, Target: erasure.ID{1}, Owner: ledger.PublicKey{2}}),
		propose(t, 0, 1, joining(1)), vote(t, 0, 1, 3, true), rotate(t, "consensus 0", "alice", 1, "bob"),
	} {
		for i := range raw {
			for _, bit := range []int{0, 3, 7} {
				bad := bytes.Clone(raw)
				bad[i] ^= 1 << bit
				tx, err := ledger.ParseTx(bad)
				if err == nil {
					err = tx.Verify(testChain)
				}
				if err == nil {
					t.Fatalf("byte %d bit %d flipped and accepted", i, bit)
				}
			}
			if _, err := ledger.ParseTx(raw[:i]); !errors.Is(err, ledger.ErrMalformed) {
				t.Fatalf("first %d bytes: %v, want ErrMalformed", i, err)
			}
		}
		if _, err := ledger.ParseTx(append(raw, 0)); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("a byte more: %v, want ErrMalformed", err)
		}
	}
	if _, err := ledger.ParseTx(make([]byte, ledger.MaxTx+1)); !errors.Is(err, ledger.ErrMalformed) {
		t.Errorf("oversized: %v, want ErrMalformed", err)
	}
}

func TestReasonsSurviveAWire(t *testing.T) {
	if ledger.Code(nil) != 0 || ledger.CodeError(0, "x") != nil {
		t.Error("0 is success")
	}
	if ledger.Code(errors.New("other")) != ledger.CodeOther || errors.Is(ledger.CodeError(ledger.CodeOther, "x"), ledger.ErrMalformed) {
		t.Error("CodeOther is no reason")
	}
	seen := make(map[uint32]bool)
	for _, want := range []error{
		ledger.ErrMalformed, ledger.ErrSignature, ledger.ErrID, ledger.ErrNotYet, ledger.ErrNonce, ledger.ErrCredits,
		ledger.ErrPending, ledger.ErrFull, ledger.ErrKeep, ledger.ErrNotValidator, ledger.ErrUnknown, ledger.ErrAttested, ledger.ErrExpired,
		ledger.ErrNotOwner, ledger.ErrChange, ledger.ErrWaiting, ledger.ErrOften, ledger.ErrPrice,
	} {
		code := ledger.Code(errors.Join(errors.New("while busy"), want))
		if code <= ledger.CodeOther || seen[code] {
			t.Errorf("%v has code %d", want, code)
		}
		seen[code] = true
		if got := ledger.CodeError(code, "in detail"); !errors.Is(got, want) || got.Error() != "in detail" {
			t.Errorf("code %d came back as %v, want %v", code, got, want)
		}
	}
	for _, code := range []uint32{2 + uint32(len(seen)), 1<<32 - 1} {
		if err := ledger.CodeError(code, "from the future"); err == nil || ledger.Code(err) != ledger.CodeOther {
			t.Errorf("unknown code %d: %v", code, err)
		}
	}
}

func FuzzParseTx(f *testing.F) {
	f.Add(announce(f, "alice", 1, record("a", 1000, 1)))
	f.Add(attest(f, 0, 1, to(1, record("a", 1000, 1))))
	f.Add(transfer(f, "alice", 1, "bob", 5))
	f.Add(naming(f, "alice", 1, ledger.Naming{Name: "x", Terms: 1, Target: erasure.ID{1}, Owner: ledger.PublicKey{2}}))
	f.Add(vote(f, 0, 1, 3, true))
	f.Add(rotate(f, "consensus 0", "alice", 1, "bob"))
	f.Add(propose(f, 0, 1, joining(1)))
	f.Add(propose(f, 0, 1, ledger.Change{Kind: ledger.ChangeParams, Params: ledger.DefaultParams()}))
	f.Add(propose(f, 0, 1, ledger.Change{Kind: ledger.ChangeRemove}))
	f.Add(propose(f, 0, 1, ledger.Change{Kind: ledger.ChangeGrant, Grant: ledger.Grant{Credits: 1}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tx, err := ledger.ParseTx(raw)
		if err != nil {
			if ledger.Code(err) == ledger.CodeOther {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		if !bytes.Equal(tx.Encode(), raw) {
			t.Errorf("%x encodes as %x", raw, tx.Encode())
		}
		_ = tx.Verify(testChain)
	})
}

func BenchmarkParseAndVerify(b *testing.B) {
	raw := announce(b, "alice", 1, record("a", 1000, 1))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		tx, err := ledger.ParseTx(raw)
		if err != nil {
			b.Fatal(err)
		}
		if err := tx.Verify(testChain); err != nil {
			b.Fatal(err)
		}
	}
}
