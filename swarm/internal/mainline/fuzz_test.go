package mainline

import "testing"

func FuzzParse(f *testing.F) {
	f.Add([]byte("d1:rd2:id20:abcdefghij01234567895:token4:tok!6:valuesl6:\x01\x02\x03\x04\x1a\xe1ee1:t2:aa1:y1:re"))
	f.Add([]byte("d1:rd2:id20:abcdefghij01234567895:nodes26:abcdefghij0123456789\x01\x02\x03\x04\x1a\xe1e1:t2:aa1:y1:re"))
	f.Add([]byte("d1:eli201e3:noee1:t2:aa1:y1:ee"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := parse(b)
		if ok && (len(r.nodes) > 2*maxNodes || len(r.peers) > maxPeers || len(r.token) > maxToken) {
			t.Errorf("%d nodes, %d peers", len(r.nodes), len(r.peers))
		}
	})
}

// Our own queries must be dictionaries with sorted keys, or nobody answers.
func TestQueries(t *testing.T) {
	q := query{name: "get_peers", torrent: ID([]byte("mnopqrstuvwxyz123456"))}
	got := string(q.encode(0x6161, ID([]byte("abcdefghij0123456789"))))
	want := "d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234564:wantl2:n42:n6ee1:q9:get_peers2:roi1e1:t2:aa1:y1:qe"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	q.name, q.port, q.token = "announce_peer", 4748, "tok!"
	got = string(q.encode(0x6161, ID([]byte("abcdefghij0123456789"))))
	want = "d1:ad2:id20:abcdefghij012345678912:implied_porti0e9:info_hash20:mnopqrstuvwxyz1234564:porti4748e5:token4:tok!e1:q13:announce_peer2:roi1e1:t2:aa1:y1:qe"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
