package swarm_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"reflect"
	"testing"

	"granary/erasure"
	"granary/swarm"
)

func TestDescribeABareMagnet(t *testing.T) {
	for _, p := range []published{random(t, 1), random(t, 33), random(t, 512), random(t, 777), publish(t, make([]byte, 64*erasure.RowSize))} {
		seeder := open(t)
		g := p.geometry()
		// One piece is enough: the engine would ask only who has a whole file.
		add(t, seeder, holding(t, p, pieces(g, func(i int) bool { return i == g.Pieces()-1 })))
		got, err := open(t).Describe(testContext(t), p.id(), []netip.AddrPort{
			netip.AddrPortFrom(newIP(), 9), // nobody there
			seeder.Addr(),
		})
		if err != nil {
			t.Fatalf("k = %d: %v", g.K(), err)
		}
		want := p.bundle
		want.Proof = nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("k = %d: described otherwise than published", g.K())
		}
	}
}

func TestDescribeKnowsWhatWasAdded(t *testing.T) {
	p := random(t, 3)
	s := open(t)
	add(t, s, newBlock(t, p.bundle))
	got, err := s.Describe(testContext(t), p.id(), nil)
	if err != nil || !reflect.DeepEqual(got, p.bundle) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestDescribeEnds(t *testing.T) {
	p := random(t, 3)
	silent := listen(t, func(net.Conn) {})
	s := open(t)
	describe := func(ctx context.Context) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := s.Describe(ctx, p.id(), []netip.AddrPort{silent})
			done <- err
		}()
		return done
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := describe(ctx)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
	done = describe(t.Context())
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("swarm closed: got no error")
	}
}

// listen accepts connections at an address of its own and serves each until
// its peer closes it.
func listen(t *testing.T, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(newIP(), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// message frames a peer wire message.
func message(kind byte, payload ...[]byte) []byte {
	body := append([]byte{kind}, bytes.Join(payload, nil)...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// What a peer says, in the order in which it is asked.

func handshake(id erasure.ID) []byte {
	reserved := []byte{0, 0, 0, 0, 0, 0x10, 0, 0}
	return bytes.Join([][]byte{[]byte("\x13BitTorrent protocol"), reserved, id[:20], make([]byte, 20)}, nil)
}

func hello(size int) []byte {
	return message(20, []byte{0}, fmt.Appendf(nil, "d1:md11:ut_metadatai3ee13:metadata_sizei%dee", size))
}

func metadata(data []byte) []byte {
	return message(20, []byte{1}, []byte("d8:msg_typei1e5:piecei0ee"), data)
}

func hashes(root erasure.Root, length uint32, list []byte) []byte {
	numbers := make([]byte, 16)
	binary.BigEndian.PutUint32(numbers[8:], length)
	return message(22, root[:], numbers, list)
}

func TestDescribeBelievesNobody(t *testing.T) {
	p := random(t, 40)
	id := p.id()
	info := p.bundle.Info.Encode()
	wrong := bytes.Clone(info)
	wrong[len(wrong)/2] ^= 1
	layer := bytes.Repeat([]byte{7}, 64*32)
	for name, says := range map[string][][]byte{
		"other block":         {handshake(erasure.ID{1})},
		"hangs up":            nil,
		"endless message":     {handshake(id), {0xff, 0xff, 0xff, 0xff}},
		"huge metadata":       {handshake(id), hello(1 << 40)},
		"negative metadata":   {handshake(id), hello(-5)},
		"not bencode":         {handshake(id), message(20, []byte{0}, bytes.Repeat([]byte("l"), 60000))},
		"wrong metadata":      {handshake(id), hello(len(info)), metadata(wrong)},
		"short metadata":      {handshake(id), hello(len(info)), metadata(info[:5])},
		"refused metadata":    {handshake(id), hello(len(info)), message(20, []byte{1}, []byte("d8:msg_typei2e5:piecei0ee"))},
		"wrong hashes":        {handshake(id), hello(len(info)), metadata(info), hashes(p.bundle.Info.Content, 64, layer), hashes(p.bundle.Info.Parity, 64, layer)},
		"too few hashes":      {handshake(id), hello(len(info)), metadata(info), hashes(p.bundle.Info.Content, 64, layer[:64])},
		"refused hashes":      {handshake(id), hello(len(info)), metadata(info), message(23, p.bundle.Info.Content[:], make([]byte, 16))},
		"nothing but haves":   {handshake(id), bytes.Repeat(message(4, []byte{0, 0, 0, 1}), 5000)},
		"extension without M": {handshake(id), message(20, []byte{0}, []byte("de"))},
	} {
		t.Run(name, func(t *testing.T) {
			liar := listen(t, func(c net.Conn) {
				for _, b := range says {
					if _, err := c.Write(b); err != nil {
						return
					}
				}
				_ = c.(*net.TCPConn).CloseWrite()
			})
			honest := open(t)
			add(t, honest, whole(t, p))
			s := open(t)
			if _, err := s.Describe(testContext(t), id, []netip.AddrPort{liar}); err == nil {
				t.Error("the liar was believed")
			}
			if _, err := s.Describe(testContext(t), id, []netip.AddrPort{liar, honest.Addr()}); err != nil {
				t.Errorf("with an honest peer beside it: %v", err)
			}
		})
	}
}

func TestDescribeRefusesForeignTorrents(t *testing.T) {
	// A v2 torrent of one absurdly long file, which the engine would size its
	// tables by.
	root := bytes.Repeat([]byte{9}, 32)
	info := fmt.Appendf(nil, "d9:file treed1:ad0:d6:lengthi%de11:pieces root32:%seee12:meta versioni2e4:name1:a12:piece lengthi16384ee", int64(1)<<60, root)
	id := sha256Of(info)
	liar := listen(t, func(c net.Conn) {
		_, _ = c.Write(bytes.Join([][]byte{handshake(id), hello(len(info)), metadata(info)}, nil))
	})
	_, err := open(t).Describe(testContext(t), id, []netip.AddrPort{liar})
	if !errors.Is(err, erasure.ErrInfo) {
		t.Errorf("got %v, want ErrInfo", err)
	}
}

func sha256Of(b []byte) erasure.ID { return sha256.Sum256(b) }

func FuzzDescribe(f *testing.F) {
	// Layers that a peer may send: piece 2 of 1 content and parity row each.
	p := publish(f, randomBytes(2*erasure.RowSize))
	id, info := p.id(), p.bundle.Info.Encode()
	list := func(roots []erasure.Root) []byte { return append(append([]byte(nil), roots[0][:]...), roots[1][:]...) }
	f.Add(bytes.Join([][]byte{
		hello(len(info)), metadata(info),
		hashes(p.bundle.Info.Content, 2, list(p.bundle.Layers.Content)),
		hashes(p.bundle.Info.Parity, 2, list(p.bundle.Layers.Parity)),
	}, nil))
	f.Add(bytes.Join([][]byte{hello(len(info)), metadata(info), message(23, p.bundle.Info.Content[:], make([]byte, 16))}, nil))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 7})
	f.Fuzz(func(t *testing.T, says []byte) {
		b, err := swarm.DescribeOver(t.Context(), &script{in: append(handshake(id), says...)}, id)
		if err == nil && (b.Info.ID() != id || b.Check() != nil) {
			t.Error("described wrongly")
		}
	})
}

// script is a peer that says everything at once and listens to nothing.
type script struct {
	net.Conn
	in []byte
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error) { return len(p), nil }
