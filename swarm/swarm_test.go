package swarm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"granary/erasure"
	"granary/swarm"
)

// patient bounds every wait of a test; nothing should come near it.
const patient = 60 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	t.Cleanup(cancel)
	return ctx
}

// waitFor polls cond, which has no event of its own to wait for.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	ctx := testContext(t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// buffer is memory that can be read and written at offsets.
type buffer []byte

func (b buffer) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, b[min(off, int64(len(b))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (b buffer) WriteAt(p []byte, off int64) (int, error) { return copy(b[off:], p), nil }

// published is a block with both files in memory.
type published struct {
	bundle          erasure.Bundle
	content, parity buffer // content is padded
}

func publish(t testing.TB, content []byte) published {
	t.Helper()
	g, err := erasure.NewGeometry(int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	p := published{content: make(buffer, g.PaddedLength()), parity: make(buffer, g.PaddedLength())}
	copy(p.content, content)
	p.bundle, err = erasure.Commit(testContext(t), "block.bin", int64(len(content)), p.content, p.parity, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// random returns a block of k rows; its last row is not full.
func random(t testing.TB, k int) published {
	return publish(t, randomBytes(k*erasure.RowSize-min(100, k)))
}

func randomBytes(n int) []byte {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(n))
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(b)
	return b
}

func (p published) geometry() erasure.Geometry { return p.bundle.Info.Geometry() }
func (p published) id() erasure.ID             { return p.bundle.Info.ID() }

// block is a swarm.Block in memory, as strict as the one on disk: pieces are
// held only when they verify against the layers and the proof vector.
type block struct {
	bundle   erasure.Bundle
	geo      erasure.Geometry
	verifier *erasure.Verifier
	reads    atomic.Int64
	shut     atomic.Bool // from now on any use is late
	late     atomic.Int64
	writeErr error                // returned by WritePieceAt
	syncErr  error                // returned by CommitPiece
	refuse   func(piece int) bool // makes the combination of a piece fail; may be nil

	mu    sync.Mutex
	files buffer // both, one after the other
	held  erasure.PieceSet
}

func newBlock(t testing.TB, bundle erasure.Bundle) *block {
	t.Helper()
	b := &block{bundle: bundle, geo: bundle.Info.Geometry()}
	if bundle.Proof != nil {
		v, err := erasure.NewVerifier(bundle.Info, bundle.Proof)
		if err != nil {
			t.Fatal(err)
		}
		b.verifier = v
	}
	b.files = make(buffer, 2*b.geo.PaddedLength())
	b.held = erasure.NewPieceSet(b.geo.Pieces())
	return b
}

// holding returns a block that holds the given pieces of p.
func holding(t testing.TB, p published, pieces erasure.PieceSet) *block {
	b := newBlock(t, p.bundle)
	all := append(append(buffer(nil), p.content...), p.parity...)
	for piece := range pieces.All() {
		off, n := b.span(piece)
		copy(b.files[off:off+n], all[off:])
		if err := b.CommitPiece(t.Context(), piece); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func whole(t testing.TB, p published) *block {
	return holding(t, p, erasure.AllPieces(p.geometry().Pieces()))
}

func (b *block) span(piece int) (off, n int64) {
	first, count := b.geo.PieceSpan(piece)
	return int64(first) * erasure.RowSize, int64(count) * erasure.RowSize
}

func (b *block) use() {
	if b.shut.Load() {
		b.late.Add(1)
	}
}

func (b *block) Bundle() erasure.Bundle { return b.bundle }

func (b *block) Has(piece int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held.Has(piece)
}

func (b *block) heldSet() erasure.PieceSet {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held.Clone()
}

func (b *block) drop(piece int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held.Remove(piece)
}

func (b *block) ReadPieceAt(piece int, p []byte, off int64) (int, error) {
	b.reads.Add(1)
	b.use()
	b.mu.Lock()
	defer b.mu.Unlock()
	at, n := b.span(piece)
	return b.files[at:at+n].ReadAt(p, off)
}

func (b *block) WritePieceAt(piece int, p []byte, off int64) (int, error) {
	b.use()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.writeErr != nil {
		return 0, b.writeErr
	}
	if b.held.Has(piece) {
		return 0, errors.New("piece is held")
	}
	at, n := b.span(piece)
	if off+int64(len(p)) > n {
		return 0, errors.New("beyond the piece")
	}
	return b.files.WriteAt(p, at+off)
}

func (b *block) CommitPiece(_ context.Context, piece int) error {
	b.use()
	b.mu.Lock()
	at, n := b.span(piece)
	data := bytes.Clone(b.files[at : at+n])
	err := b.syncErr
	b.mu.Unlock()
	if err != nil {
		return err
	}
	if b.refuse != nil && b.refuse(piece) {
		return fmt.Errorf("piece %d: %w", piece, &erasure.RowError{Reason: "combination"})
	}
	if b.verifier != nil {
		if err := b.verifier.Piece(b.bundle.Layers, piece, data); err != nil {
			return fmt.Errorf("piece %d: %w", piece, err)
		}
	} else if root, err := erasure.PieceHash(b.geo, piece, data); err != nil || root != b.bundle.Layers.Piece(piece) {
		return fmt.Errorf("piece %d: hash %s, %w", piece, root, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held.Add(piece)
	return nil
}

// recovered decodes what b holds and returns the content.
func (b *block) recovered(t testing.TB) []byte {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.geo
	content := bytes.Clone(b.files[:g.PaddedLength()])
	err := erasure.Recover(testContext(t), g, erasure.Source{
		Have:    func(row int) bool { return b.held.Has(g.PieceOf(row)) },
		Content: b.files[:g.PaddedLength()],
		Parity:  b.files[g.PaddedLength():],
	}, buffer(content), nil)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// nextIP gives every swarm an address of its own: bans are by IP.
var nextIP atomic.Uint32

func open(t testing.TB, change ...func(*swarm.Config)) *swarm.Swarm {
	t.Helper()
	n := nextIP.Add(1)
	cfg := swarm.Config{IP: netip.AddrFrom4([4]byte{127, 44, byte(n >> 8), byte(n)}), AllowPrivate: true}
	for _, f := range change {
		f(&cfg)
	}
	s, err := swarm.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func add(t testing.TB, s *swarm.Swarm, b swarm.Block) *swarm.Torrent {
	t.Helper()
	torrent, err := s.Add(b)
	if err != nil {
		t.Fatal(err)
	}
	return torrent
}

func pieces(g erasure.Geometry, include func(p int) bool) erasure.PieceSet {
	s := erasure.NewPieceSet(g.Pieces())
	for p := range g.Pieces() {
		if include(p) {
			s.Add(p)
		}
	}
	return s
}

func equal(a, b erasure.PieceSet) bool { return bytes.Equal(a.Bytes(), b.Bytes()) }
