package local

import (
	"slices"
	"strings"
	"testing"
)

func TestMessagesComeBack(t *testing.T) {
	m := message{port: 4748, hashes: []Hash{{1}, {0xff, 2}}, cookie: "x"}
	want := "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 4748\r\n" +
		"Infohash: 0100000000000000000000000000000000000000\r\nInfohash: ff02000000000000000000000000000000000000\r\ncookie: x\r\n\r\n\r\n"
	if got := string(m.encode(Group)); got != want {
		t.Errorf("got %q", got)
	}
	back, ok := parse([]byte(want))
	if !ok || back.port != m.port || back.cookie != m.cookie || !slices.Equal(back.hashes, m.hashes) {
		t.Errorf("got %+v, %v", back, ok)
	}
	full := message{port: 65535, hashes: make([]Hash, maxHashes), cookie: strings.Repeat("c", 16)}
	if n := len(full.encode(Group)); n > maxMessage {
		t.Errorf("a full message has %d bytes, want at most %d", n, maxMessage)
	}
}

func TestParseRefuses(t *testing.T) {
	const hash = "Infohash: 0100000000000000000000000000000000000000\r\n"
	for _, s := range []string{
		"", "GET / HTTP/1.1\r\nPort: 1\r\n" + hash,
		"BT-SEARCH * HTTP/1.1\r\n" + hash,
		"BT-SEARCH * HTTP/1.1\r\nPort: 1\r\n",
		"BT-SEARCH * HTTP/1.1\r\nPort: 0\r\n" + hash,
		"BT-SEARCH * HTTP/1.1\r\nPort: 65536\r\n" + hash,
		"BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: 01\r\n",
		"BT-SEARCH * HTTP/1.1\r\nPort: 1\r\n" + strings.Repeat(hash, maxHashes+1),
		"BT-SEARCH * HTTP/1.1\r\nPort: 1\r\n" + hash + strings.Repeat("x: y\r\n", 300),
	} {
		if m, ok := parse([]byte(s)); ok {
			t.Errorf("%.60q is taken for %+v", s, m)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(message{4748, []Hash{{1}}, "x"}.encode(Group))
	f.Add([]byte("BT-SEARCH * HTTP/1.1\r\nport:1\r\ninfohash:0100000000000000000000000000000000000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := parse(b)
		if !ok {
			return
		}
		if m.port == 0 || len(m.hashes) == 0 || len(m.hashes) > maxHashes {
			t.Fatalf("%+v", m)
		}
		back, ok := parse(m.encode(Group))
		if len(m.cookie) <= 16 && (!ok || back.port != m.port || !slices.Equal(back.hashes, m.hashes)) {
			t.Errorf("%+v became %+v, %v", m, back, ok)
		}
	})
}
