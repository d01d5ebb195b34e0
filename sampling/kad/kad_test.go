package kad_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"granary/erasure"
	"granary/sampling/kad"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const chain = "granary-test"

// key returns the identity of test node i.
func key(i int) ed25519.PrivateKey {
	seed := sha256.Sum256(fmt.Appendf(nil, "node %d", i))
	return ed25519.NewKeyFromSeed(seed[:])
}

// ip gives every node its own loopback address.
func ip(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)}) }

func config(i int, bootstrap ...*kad.Host) kad.Config {
	cfg := kad.Config{
		Chain:        chain,
		Key:          key(i),
		IP:           ip(i),
		Devnet:       true,
		CustodyCount: 24,
	}
	for _, h := range bootstrap {
		cfg.Bootstrap = append(cfg.Bootstrap, h.Addrs()...)
	}
	return cfg
}

func open(t testing.TB, cfg kad.Config, src kad.Source) *kad.Host {
	t.Helper()
	h, err := kad.Open(t.Context(), cfg, src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return h
}

// deadline bounds everything a test waits for; a busy machine needs it.
func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// waitFor polls a condition that nothing signals.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	ctx := deadline(t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, ctx.Err())
		case <-tick.C:
		}
	}
}

func connected(t testing.TB, h *kad.Host, others ...*kad.Host) {
	t.Helper()
	for _, o := range others {
		waitFor(t, "connection", func() bool {
			for _, p := range h.Peers() {
				if p.Peer == o.ID() {
					return true
				}
			}
			return false
		})
	}
}

// memory is a Source of whole blocks, and of whatever a test makes it say.
type memory struct {
	mu     sync.Mutex // guards what follows
	blocks map[erasure.ID]*block
	reads  int
	gate   chan struct{} // if set, Row waits for it to be closed
	err    error         // if set, Row's answer
}

type block struct {
	bundle erasure.Bundle
	rows   [][]byte
}

var _ kad.Source = (*memory)(nil)

// writerAt is a file in memory.
type writerAt []byte

func (w writerAt) WriteAt(p []byte, off int64) (int, error) { return copy(w[off:], p), nil }

// add commits content to the source.
func (m *memory) add(t testing.TB, content []byte) erasure.Bundle {
	t.Helper()
	g, err := erasure.NewGeometry(int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	parity := make(writerAt, g.PaddedLength())
	b, err := erasure.Commit(t.Context(), "block", int64(len(content)), bytes.NewReader(content), parity, nil)
	if err != nil {
		t.Fatal(err)
	}
	padded := make([]byte, g.PaddedLength())
	copy(padded, content)
	blk := &block{bundle: b}
	for all := append(padded, parity...); len(all) > 0; all = all[erasure.RowSize:] {
		blk.rows = append(blk.rows, all[:erasure.RowSize])
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.blocks == nil {
		m.blocks = make(map[erasure.ID]*block)
	}
	m.blocks[b.Info.ID()] = blk
	return b
}

// all returns the blocks of the source.
func (m *memory) all() []*block {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.blocks))
}

func (m *memory) Bundle(id erasure.ID) (erasure.Bundle, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b := m.blocks[id]; b != nil {
		return b.bundle, nil
	}
	return erasure.Bundle{}, kad.ErrNotHeld
}

func (m *memory) Held(id erasure.ID) erasure.PieceSet {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b := m.blocks[id]; b != nil {
		return erasure.AllPieces(b.bundle.Info.Geometry().Pieces())
	}
	return erasure.PieceSet{}
}

func (m *memory) Row(id erasure.ID, row int) ([]byte, []erasure.Root, error) {
	m.mu.Lock()
	b, gate, err := m.blocks[id], m.gate, m.err
	m.reads++
	m.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if err != nil {
		return nil, nil, err
	}
	if b == nil || row >= len(b.rows) {
		return nil, nil, kad.ErrNotHeld
	}
	g := b.bundle.Info.Geometry()
	first, count := g.PieceSpan(g.PieceOf(row))
	path, err := erasure.RowPath(g, b.bundle.Layers, row, bytes.Join(b.rows[first:first+count], nil))
	return b.rows[row], path, err
}

func (m *memory) rowReads() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reads
}

// content returns n bytes that compress badly and repeat never.
func content(n int) []byte {
	b := make([]byte, 0, n+32)
	for i := 0; len(b) < n; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d", i))
		b = append(b, sum[:]...)
	}
	return b[:n]
}
