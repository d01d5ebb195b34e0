package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"granary/erasure"
	"granary/sampling/kad/internal/wire"
)

// The vectors of docs/spec/protocols.md.
func TestWireVectors(t *testing.T) {
	id := erasure.ID(bytes.Repeat([]byte{0xab}, 32))
	for _, v := range []struct {
		m    wire.Message
		want string // hex of the frame
	}{
		{wire.HelloRequest{Chain: "net"}, "06 82 63 6e6574 40"},
		{wire.HelloRequest{Chain: "net", ID: id[:]}, "27 82 63 6e6574 5820 " + strings.Repeat("ab", 32)},
		{
			wire.HelloReply{Chain: "net", Torrent: 4748, Custodian: true, Known: true, Held: []byte{0xc0}},
			"0e 87 00 63 6e6574 19128c f5 00 f5 41c0",
		},
		{wire.HelloReply{Status: wire.OtherChain, Chain: "net"}, "0b 87 04 63 6e6574 00 f4 00 f4 40"},
		{wire.BundleRequest{ID: id}, "23 81 5820 " + strings.Repeat("ab", 32)},
		{wire.BundleReply{Info: []byte("d"), Proof: []byte{1}, Layers: []byte{2}}, "08 84 00 4164 4101 4102"},
		{wire.BundleReply{Status: wire.Pending}, "05 84 03 40 40 40"},
		{wire.RowRequest{ID: id, Row: 300}, "26 82 5820 " + strings.Repeat("ab", 32) + " 19012c"},
		{wire.RowReply{Status: wire.NotHeld}, "04 83 01 40 40"},
		{
			wire.RowReply{Row: make([]byte, erasure.RowSize), Path: bytes.Repeat([]byte{7}, 32)},
			"a78001 83 00 594000 " + strings.Repeat("00", erasure.RowSize) + " 5820 " + strings.Repeat("07", 32),
		},
	} {
		var frame bytes.Buffer
		if err := wire.WriteFrame(&frame, wire.Encode(v.m)); err != nil {
			t.Fatal(err)
		}
		if got, want := hex.EncodeToString(frame.Bytes()), strings.ReplaceAll(v.want, " ", ""); got != want {
			t.Errorf("%T: %.100s, want %.100s", v.m, got, want)
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
		if m, err := wire.Decode[wire.HelloRequest](b); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %+v, %v, want wire.ErrMalformed", v.name, m, err)
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
		if m, err := wire.Decode[wire.RowReply](b); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %+v, %v, want wire.ErrMalformed", v.name, m, err)
		}
		if m, err := wire.Decode[wire.RowRequest](b); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %+v, %v, want wire.ErrMalformed", v.name, m, err)
		}
	}
}

func TestTheLargestMessagesFitTheirLimits(t *testing.T) {
	for _, v := range []struct {
		m     wire.Message
		limit int
	}{
		{wire.HelloRequest{Chain: strings.Repeat("c", wire.MaxChain), ID: make([]byte, 32)}, wire.MaxRequest},
		{wire.BundleRequest{}, wire.MaxRequest},
		{wire.RowRequest{Row: 2*erasure.MaxContentRows - 1}, wire.MaxRequest},
		{wire.HelloReply{Chain: strings.Repeat("c", wire.MaxChain), Torrent: 65535, Extra: 1<<64 - 1, Held: make([]byte, 128)}, wire.MaxHelloReply},
		{wire.BundleReply{Info: make([]byte, 4<<10), Proof: make([]byte, 256<<10), Layers: make([]byte, 32<<10)}, wire.MaxBundleReply},
		{wire.RowReply{Row: make([]byte, erasure.RowSize), Path: make([]byte, 14*32)}, wire.MaxRowReply},
	} {
		if n := len(wire.Encode(v.m)); n > v.limit {
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
			got, err := wire.ReadFrame(r, 5)
			if string(got) != v.want || (err == nil) != v.ok {
				t.Errorf("%s: %q, %v", v.name, got, err)
			}
		}
	}
}

func fuzzDecode[M wire.Message](f *testing.F, seeds ...M) {
	for _, m := range seeds {
		f.Add(wire.Encode(m))
	}
	f.Add([]byte{0x9f, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wire.Decode[M](b)
		if err != nil {
			return
		}
		if !m.Valid() || !bytes.Equal(wire.Encode(m), b) {
			t.Errorf("%x was read as %+v", b, m)
		}
	})
}

func FuzzHelloRequest(f *testing.F) {
	fuzzDecode(f, wire.HelloRequest{}, wire.HelloRequest{Chain: "net", ID: make([]byte, 32)})
}

func FuzzHelloReply(f *testing.F) {
	fuzzDecode(f, wire.HelloReply{}, wire.HelloReply{Chain: "net", Torrent: 4748, Custodian: true, Held: []byte{0x80}})
}

func FuzzBundleRequest(f *testing.F) { fuzzDecode(f, wire.BundleRequest{}) }

func FuzzBundleReply(f *testing.F) {
	fuzzDecode(f, wire.BundleReply{Status: wire.Busy}, wire.BundleReply{Info: []byte("d"), Proof: []byte{1}, Layers: []byte{2}})
}

func FuzzRowRequest(f *testing.F) { fuzzDecode(f, wire.RowRequest{Row: 7}) }

func FuzzRowReply(f *testing.F) {
	fuzzDecode(f, wire.RowReply{Status: wire.Busy}, wire.RowReply{Row: make([]byte, erasure.RowSize), Path: make([]byte, 32)})
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x03abc"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		body, err := wire.ReadFrame(bytes.NewReader(b), wire.MaxRequest)
		if err == nil && (len(body) > wire.MaxRequest || !bytes.Contains(b, body)) {
			t.Errorf("%x was read from %x", body, b)
		}
	})
}

// A description that passes is that of the ID asked for, whatever was sent.
func FuzzBundle(f *testing.F) {
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
		got, err := wire.BundleReply{Info: info, Proof: proof, Layers: layers}.Bundle(id)
		if err == nil && (got.Info != b.Info || !bytes.Equal(got.Proof, b.Proof)) {
			t.Errorf("accepted %+v", got)
		}
	})
}

// fileBytes is a file in memory.
type fileBytes []byte

func (f fileBytes) WriteAt(p []byte, off int64) (int, error) { return copy(f[off:], p), nil }
