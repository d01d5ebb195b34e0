package kad

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"granary/erasure"
)

// The vectors of docs/spec/network.md.
func TestWireVectors(t *testing.T) {
	id := erasure.ID(bytes.Repeat([]byte{0xab}, 32))
	for _, v := range []struct {
		m    message
		want string // hex of the frame
	}{
		{helloRequest{Chain: "net"}, "06 82 63 6e6574 40"},
		{helloRequest{Chain: "net", ID: id[:]}, "27 82 63 6e6574 5820 " + strings.Repeat("ab", 32)},
		{
			helloReply{Chain: "net", Torrent: 4748, Custodian: true, Known: true, Held: []byte{0xc0}},
			"0e 87 00 63 6e6574 19128c f5 00 f5 41c0",
		},
		{helloReply{Status: statusOtherChain, Chain: "net"}, "0b 87 04 63 6e6574 00 f4 00 f4 40"},
		{bundleRequest{ID: id}, "23 81 5820 " + strings.Repeat("ab", 32)},
		{bundleReply{Info: []byte("d"), Proof: []byte{1}, Layers: []byte{2}}, "08 84 00 4164 4101 4102"},
		{bundleReply{Status: statusPending}, "05 84 03 40 40 40"},
		{rowRequest{ID: id, Row: 300}, "26 82 5820 " + strings.Repeat("ab", 32) + " 19012c"},
		{rowReply{Status: statusNotHeld}, "04 83 01 40 40"},
		{
			rowReply{Row: make([]byte, erasure.RowSize), Path: bytes.Repeat([]byte{7}, 32)},
			"a78001 83 00 594000 " + strings.Repeat("00", erasure.RowSize) + " 5820 " + strings.Repeat("07", 32),
		},
	} {
		var frame bytes.Buffer
		if err := writeFrame(&frame, encode(v.m)); err != nil {
			t.Fatal(err)
		}
		if got, want := hex.EncodeToString(frame.Bytes()), strings.ReplaceAll(v.want, " ", ""); got != want {
			t.Errorf("%T: %.100s, want %.100s", v.m, got, want)
		}
	}
}

func TestKeyVectors(t *testing.T) {
	id := erasure.ID(bytes.Repeat([]byte{0xab}, 32))
	for _, v := range []struct {
		key  []byte
		want string
	}{
		{groupKey("net", 5), "1220bf32d3b91cf5b02ce729a1498ff6c7abd4912110fb8396add552a10936fb44c9"},
		{blockKey("net", id), "1220d04038a02a36fdd7fd9c72e57ca72ccf490c8b764b7280a565c65af32f0bea49"},
	} {
		if got := hex.EncodeToString(v.key); got != v.want {
			t.Errorf("key %s, want %s", got, v.want)
		}
	}
}

func TestDecodeAcceptsOneEncodingOnly(t *testing.T) {
	for _, v := range []struct{ name, hex string }{
		{"null for an empty string", "8263 6e6574 f6"},
		{"longer length", "825803 6e6574 40"},
		{"byte string for text", "8243 6e6574 40"},
		{"indefinite array", "9f63 6e6574 40 ff"},
		{"indefinite string", "827f 63 6e6574 ff 40"},
		{"tag", "82d863 6e6574 40"},
		{"one element more", "8363 6e6574 40 40"},
		{"one element less", "8163 6e6574"},
		{"map", "a165436861696e636e6574"},
		{"short ID", "8263 6e6574 4101"},
		{"trailing byte", "8263 6e6574 40 00"},
		{"invalid UTF-8", "8263 ffffff 40"},
		{"nothing", ""},
		{"long chain ID", "827841" + strings.Repeat("61", 65) + "40"},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(v.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if m, err := decode[helloRequest](b); !errors.Is(err, errWire) {
			t.Errorf("%s: %+v, %v, want errWire", v.name, m, err)
		}
	}
	for _, v := range []struct{ name, hex string }{
		{"held with a row", "8301 4101 40"},
		{"short row", "8300 4101 40"},
		{"unknown status", "8305 40 40"},
		{"short ID", "8241ab00"},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(v.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if m, err := decode[rowReply](b); !errors.Is(err, errWire) {
			t.Errorf("%s: %+v, %v, want errWire", v.name, m, err)
		}
		if m, err := decode[rowRequest](b); !errors.Is(err, errWire) {
			t.Errorf("%s: %+v, %v, want errWire", v.name, m, err)
		}
	}
}

func TestTheLargestMessagesFitTheirLimits(t *testing.T) {
	for _, v := range []struct {
		m     message
		limit int
	}{
		{helloRequest{Chain: strings.Repeat("c", maxChain), ID: make([]byte, 32)}, maxRequest},
		{bundleRequest{}, maxRequest},
		{rowRequest{Row: 2*erasure.MaxContentRows - 1}, maxRequest},
		{helloReply{Chain: strings.Repeat("c", maxChain), Torrent: 65535, Extra: 1<<64 - 1, Held: make([]byte, maxHeld)}, maxHelloReply},
		{bundleReply{Info: make([]byte, maxInfo), Proof: make([]byte, maxProof), Layers: make([]byte, maxLayers)}, maxBundleReply},
		{rowReply{Row: make([]byte, erasure.RowSize), Path: make([]byte, maxPath)}, maxRowReply},
	} {
		if n := len(encode(v.m)); n > v.limit {
			t.Errorf("%T has %d bytes, limit %d", v.m, n, v.limit)
		}
	}
}

func TestReadFrame(t *testing.T) {
	for _, v := range []struct {
		name string
		in   []byte
		want string // the body, if ok
		ok   bool
	}{
		{"body", []byte("\x03abcrest"), "abc", true},
		{"empty body", []byte{0}, "", true},
		{"at the limit", []byte("\x05abcde"), "abcde", true},
		{"over the limit", []byte("\x06abcdef"), "", false},
		{"huge", bytes.Repeat([]byte{0xff}, 20), "", false},
		{"not minimal", []byte("\x83\x00abc"), "", false},
		{"truncated body", []byte("\x03ab"), "", false},
		{"truncated length", []byte{0x80}, "", false},
		{"nothing", nil, "", false},
	} {
		for _, r := range []io.Reader{bytes.NewReader(v.in), iotest.OneByteReader(bytes.NewReader(v.in))} {
			got, err := readFrame(r, 5)
			if string(got) != v.want || (err == nil) != v.ok {
				t.Errorf("%s: %q, %v", v.name, got, err)
			}
		}
	}
}

func fuzzDecode[M message](f *testing.F, seeds ...M) {
	for _, m := range seeds {
		f.Add(encode(m))
	}
	f.Add([]byte{0x9f, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode[M](b)
		if err != nil {
			return
		}
		if !m.valid() || !bytes.Equal(encode(m), b) {
			t.Errorf("%x was read as %+v", b, m)
		}
	})
}

func FuzzHelloRequest(f *testing.F) {
	fuzzDecode(f, helloRequest{}, helloRequest{Chain: "net", ID: make([]byte, 32)})
}

func FuzzHelloReply(f *testing.F) {
	fuzzDecode(f, helloReply{}, helloReply{Chain: "net", Torrent: 4748, Custodian: true, Held: []byte{0x80}})
}

func FuzzBundleRequest(f *testing.F) { fuzzDecode(f, bundleRequest{}) }

func FuzzBundleReply(f *testing.F) {
	fuzzDecode(f, bundleReply{Status: statusBusy}, bundleReply{Info: []byte("d"), Proof: []byte{1}, Layers: []byte{2}})
}

func FuzzRowRequest(f *testing.F) { fuzzDecode(f, rowRequest{Row: 7}) }

func FuzzRowReply(f *testing.F) {
	fuzzDecode(f, rowReply{Status: statusBusy}, rowReply{Row: make([]byte, erasure.RowSize), Path: make([]byte, 32)})
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x03abc"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		body, err := readFrame(bytes.NewReader(b), maxRequest)
		if err == nil && (len(body) > maxRequest || !bytes.Contains(b, body)) {
			t.Errorf("%x was read from %x", body, b)
		}
	})
}

// A description that passes is that of the ID asked for, whatever was sent.
func FuzzParseBundle(f *testing.F) {
	content := []byte("some content")
	parity := make(fileBytes, erasure.RowSize)
	b, err := erasure.Commit(f.Context(), "name", int64(len(content)), bytes.NewReader(content), parity, nil)
	if err != nil {
		f.Fatal(err)
	}
	id := b.Info.ID()
	f.Add(b.Info.Encode(), b.Proof, b.Layers.Encode())
	f.Add([]byte("d4:name1:xe"), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, info, proof, layers []byte) {
		got, err := parseBundle(id, bundleReply{Info: info, Proof: proof, Layers: layers})
		if err == nil && (got.Info != b.Info || !bytes.Equal(got.Proof, b.Proof)) {
			t.Errorf("accepted %+v", got)
		}
	})
}

// fileBytes is a file in memory.
type fileBytes []byte

func (f fileBytes) WriteAt(p []byte, off int64) (int, error) { return copy(f[off:], p), nil }
