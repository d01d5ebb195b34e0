package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"granary/erasure"
	"granary/ledger"
)

const chain = "granary-vector"

// vectorKey is the key of the test vector: the seed is 32 bytes of 0x01.
func vectorKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
}

func vectorAnnouncement() ledger.Announcement {
	return ledger.Announcement{
		Info: erasure.Info{
			Name: "rollup-42.bin", Length: 1_000_000,
			Content: sha256.Sum256([]byte("content")), Parity: sha256.Sum256([]byte("parity")),
			ProofHash: sha256.Sum256([]byte("proof")),
		},
		Peers: [][]byte{[]byte("first peer"), []byte("second peer")},
	}
}

func sign(t testing.TB, a ledger.Announcement) []byte {
	t.Helper()
	msg, err := a.Sign(chain, vectorKey())
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func TestSignedAnnouncementParses(t *testing.T) {
	want := vectorAnnouncement()
	got, err := ledger.ParseAnnouncement(chain, sign(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if got.Info != want.Info || len(got.Peers) != 2 || !bytes.Equal(got.Peers[1], want.Peers[1]) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !got.Publisher.Equal(vectorKey().Public()) {
		t.Errorf("publisher %x", got.Publisher)
	}
	want.Peers = nil
	if _, err := ledger.ParseAnnouncement(chain, sign(t, want)); err != nil {
		t.Errorf("without peers: %v", err)
	}
}

// TestVectorIsSpecified keeps docs/spec/announcement.md true: the message, and
// the bytes that are signed, stand there in hex.
func TestVectorIsSpecified(t *testing.T) {
	doc, err := os.ReadFile("../docs/spec/announcement.md")
	if err != nil {
		t.Fatal(err)
	}
	spec := strings.Join(strings.Fields(string(doc)), "")
	msg := sign(t, vectorAnnouncement())
	var parts [][]byte
	if err := cbor.Unmarshal(msg, &parts); err != nil {
		t.Fatal(err)
	}
	signed := append([]byte("granary/announce/v1\x0egranary-vector"), parts[0]...)
	if !ed25519.Verify(vectorKey().Public().(ed25519.PublicKey), signed, parts[1]) {
		t.Error("the signature does not cover what the specification says")
	}
	id := vectorAnnouncement().Info.ID()
	for what, b := range map[string][]byte{"message": msg, "signed bytes": signed, "ID": id[:]} {
		if !strings.Contains(spec, hex.EncodeToString(b)) {
			t.Errorf("%s not in the specification: %x", what, b)
		}
	}
}

func TestSignatureHoldsOnOneChainOnly(t *testing.T) {
	msg := sign(t, vectorAnnouncement())
	if _, err := ledger.ParseAnnouncement("another", msg); !errors.Is(err, ledger.ErrSignature) {
		t.Errorf("another chain: %v, want ErrSignature", err)
	}
	for _, chain := range []string{"", strings.Repeat("c", 256)} {
		if _, err := ledger.ParseAnnouncement(chain, msg); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("chain ID of %d bytes: %v, want ErrMalformed", len(chain), err)
		}
		if _, err := vectorAnnouncement().Sign(chain, vectorKey()); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("chain ID of %d bytes signed: %v", len(chain), err)
		}
	}
}

func TestNoByteCanChange(t *testing.T) {
	msg := sign(t, vectorAnnouncement())
	for i := range msg {
		for bit := range 8 {
			bad := bytes.Clone(msg)
			bad[i] ^= 1 << bit
			if _, err := ledger.ParseAnnouncement(chain, bad); err == nil {
				t.Fatalf("byte %d bit %d flipped and accepted", i, bit)
			}
		}
		if _, err := ledger.ParseAnnouncement(chain, msg[:i]); !errors.Is(err, ledger.ErrMalformed) {
			t.Fatalf("first %d bytes: %v, want ErrMalformed", i, err)
		}
	}
	if _, err := ledger.ParseAnnouncement(chain, append(msg, 0)); !errors.Is(err, ledger.ErrMalformed) {
		t.Errorf("a byte more: %v, want ErrMalformed", err)
	}
}

func TestSignRefusesWhatParseWould(t *testing.T) {
	for name, change := range map[string]func(*ledger.Announcement){
		"no name":       func(a *ledger.Announcement) { a.Info.Name = "" },
		"path as name":  func(a *ledger.Announcement) { a.Info.Name = "a/b" },
		"no length":     func(a *ledger.Announcement) { a.Info.Length = 0 },
		"long":          func(a *ledger.Announcement) { a.Info.Length = erasure.MaxLength + 1 },
		"five peers":    func(a *ledger.Announcement) { a.Peers = [][]byte{{1}, {2}, {3}, {4}, {5}} },
		"peer twice":    func(a *ledger.Announcement) { a.Peers = [][]byte{{1}, {1}} },
		"empty peer":    func(a *ledger.Announcement) { a.Peers = [][]byte{{}} },
		"long peer":     func(a *ledger.Announcement) { a.Peers = [][]byte{make([]byte, 65)} },
		"negative size": func(a *ledger.Announcement) { a.Info.Length = -1 },
	} {
		a := vectorAnnouncement()
		change(&a)
		if _, err := a.Sign(chain, vectorKey()); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	if _, err := vectorAnnouncement().Sign(chain, nil); !errors.Is(err, ledger.ErrMalformed) {
		t.Errorf("no key: %v, want ErrMalformed", err)
	}
}

// TestOtherEncodingsAreRejected signs bodies that say the same, or more, in
// other bytes: the signature is right and the message still is not.
func TestOtherEncodingsAreRejected(t *testing.T) {
	var parts [][]byte
	if err := cbor.Unmarshal(sign(t, vectorAnnouncement()), &parts); err != nil {
		t.Fatal(err)
	}
	body := parts[0]
	if body[0] != 0xa8 || !bytes.HasPrefix(body[1:], []byte{0x00, 0x01, 0x01}) {
		t.Fatalf("body begins %x, want a map of 8 with version 1", body[:4])
	}
	rest := body[3:] // from key 1 on
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	withPeers := func(peers []byte) []byte {
		i := bytes.Index(body, append([]byte{6, 0x82, 0x4a}, "first peer"...))
		j := bytes.LastIndex(body, []byte{7, 0x58, 0x20})
		return cat(body[:i+1], peers, body[j:])
	}
	for name, bad := range map[string][]byte{
		"version in two bytes":  cat([]byte{0xa8, 0x00, 0x18, 0x01}, rest),
		"key in two bytes":      cat([]byte{0xa8, 0x18, 0x00, 0x01}, rest),
		"indefinite map":        cat([]byte{0xbf, 0x00, 0x01}, rest, []byte{0xff}),
		"map length in 2 bytes": cat([]byte{0xb8, 0x08, 0x00, 0x01}, rest),
		"keys out of order":     cat([]byte{0xa8}, rest, []byte{0x00, 0x01}),
		"duplicate key":         cat([]byte{0xa9, 0x00, 0x01, 0x00, 0x01}, rest),
		"unknown key":           cat([]byte{0xa9, 0x00, 0x01}, rest, []byte{0x08, 0x00}),
		"text key":              cat([]byte{0xa9, 0x00, 0x01}, rest, []byte{0x61, '1', 0x00}),
		"missing key":           cat([]byte{0xa7}, rest),
		"version 2":             cat([]byte{0xa8, 0x00, 0x02}, rest),
		"float version":         cat([]byte{0xa8, 0x00, 0xf9, 0x3c, 0x00}, rest),
		"tag":                   cat([]byte{0xc1}, body),
		"null peers":            withPeers([]byte{0xf6}),
		"no peers, indefinite":  withPeers([]byte{0x9f, 0xff}),
		"text peer":             withPeers([]byte{0x81, 0x61, 'p'}),
		"nested peers":          withPeers([]byte{0x81, 0x81, 0x41, 1}),
		"17 peers":              withPeers(append([]byte{0x91}, bytes.Repeat([]byte{0x41, 1}, 17)...)),
		"4 billion peers":       withPeers([]byte{0x9a, 0xff, 0xff, 0xff, 0xff}),
		"trailing byte":         cat(body, []byte{0}),
		"empty":                 {},
	} {
		signature := ed25519.Sign(vectorKey(), cat([]byte("granary/announce/v1\x0egranary-vector"), bad))
		msg, err := cbor.Marshal([][]byte{bad, signature})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.ParseAnnouncement(chain, msg); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	// The counterpart: without peers in the one right way it is accepted.
	good := withPeers([]byte{0x80})
	signature := ed25519.Sign(vectorKey(), cat([]byte("granary/announce/v1\x0egranary-vector"), good))
	msg, err := cbor.Marshal([][]byte{good, signature})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.ParseAnnouncement(chain, msg); err != nil {
		t.Errorf("empty peers: %v", err)
	}
}

func TestLongMessagesAreNotRead(t *testing.T) {
	if _, err := ledger.ParseAnnouncement(chain, make([]byte, ledger.MaxAnnouncement+1)); !errors.Is(err, ledger.ErrMalformed) {
		t.Errorf("%v, want ErrMalformed", err)
	}
	largest := vectorAnnouncement()
	largest.Info.Name = strings.Repeat("n", 200)
	largest.Info.Length = erasure.MaxLength
	largest.Peers = nil
	for i := range ledger.MaxPeers {
		largest.Peers = append(largest.Peers, bytes.Repeat([]byte{byte(i)}, ledger.MaxPeerID))
	}
	if msg := sign(t, largest); len(msg) > 1024 {
		t.Errorf("the largest announcement has %d bytes", len(msg))
	} else if _, err := ledger.ParseAnnouncement(chain, msg); err != nil {
		t.Errorf("the largest announcement: %v", err)
	}
}

func FuzzParseAnnouncement(f *testing.F) {
	msg, err := vectorAnnouncement().Sign(chain, vectorKey())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(msg)
	f.Add([]byte{0x82, 0x40, 0x40})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, msg []byte) {
		a, err := ledger.ParseAnnouncement(chain, msg)
		if err != nil {
			if !errors.Is(err, ledger.ErrMalformed) && !errors.Is(err, ledger.ErrSignature) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		// Accepted means signed: only the vector's key can have made it, and
		// ed25519 signing is deterministic.
		if a.Publisher.Equal(vectorKey().Public()) {
			if again, err := a.Sign(chain, vectorKey()); err != nil || !bytes.Equal(again, msg) {
				t.Errorf("accepted %x, signs as %x (%v)", msg, again, err)
			}
		}
	})
}

func BenchmarkParseAnnouncement(b *testing.B) {
	msg := sign(b, vectorAnnouncement())
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ledger.ParseAnnouncement(chain, msg); err != nil {
			b.Fatal(err)
		}
	}
}
