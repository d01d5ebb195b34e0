package sampling_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"granary/erasure"
	"granary/sampling"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// block is a block with all of its rows and their paths.
type block struct {
	bundle erasure.Bundle
	id     erasure.ID
	g      erasure.Geometry
	rows   [][]byte
	paths  [][]erasure.Root
}

// file is memory that can be written at.
type file []byte

func (f file) WriteAt(p []byte, at int64) (int, error) { return copy(f[at:], p), nil }

// made holds the blocks made so far: many tests use the same ones.
var made sync.Map

// newBlock makes a block of k rows of content that seed determines. It is
// shared: its rows are not to be changed.
func newBlock(t testing.TB, k int, seed uint64) *block {
	t.Helper()
	if b, ok := made.Load([2]uint64{uint64(k), seed}); ok {
		return b.(*block)
	}
	content := make([]byte, k*erasure.RowSize)
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = random.Read(content)
	parity := make(file, len(content))
	bundle, err := erasure.Commit(t.Context(), fmt.Sprintf("block-%d", seed), int64(len(content)), bytes.NewReader(content), parity, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &block{bundle: bundle, id: bundle.Info.ID(), g: bundle.Info.Geometry()}
	for i := range k {
		b.rows = append(b.rows, content[i*erasure.RowSize:(i+1)*erasure.RowSize])
	}
	for i := range k {
		b.rows = append(b.rows, parity[i*erasure.RowSize:(i+1)*erasure.RowSize])
	}
	b.paths = paths(b.rows)
	made.Store([2]uint64{uint64(k), seed}, b)
	return b
}

// paths returns the Merkle paths of all rows of a block.
func paths(rows [][]byte) [][]erasure.Root {
	var all [][]erasure.Root
	for _, file := range [][][]byte{rows[:len(rows)/2], rows[len(rows)/2:]} {
		var level []erasure.Root
		for _, row := range file {
			level = append(level, erasure.LeafHash(row))
		}
		for len(level)&(len(level)-1) != 0 {
			level = append(level, erasure.Root{})
		}
		siblings := make([][]erasure.Root, len(file))
		for depth := 0; len(level) > 1; depth++ {
			for i := range siblings {
				siblings[i] = append(siblings[i], level[i>>depth^1])
			}
			var next []erasure.Root
			for i := 0; i < len(level); i += 2 {
				next = append(next, sha256.Sum256(append(level[i][:], level[i+1][:]...)))
			}
			level = next
		}
		all = append(all, siblings...)
	}
	return all
}

// rowBytes is what one row of the block and its path weigh.
func (b *block) rowBytes() int64 { return erasure.RowSize + 32*int64(b.g.Depth()) }

// request is one that a holder got.
type request struct {
	holder sampling.Holder
	id     erasure.ID
	row    int
}

// network is holders that serve whole blocks, but for what deny says.
type network struct {
	peers  []sampling.Holder
	blocks map[erasure.ID]*block
	// deny may answer in the holder's place; nil: it serves the row.
	deny func(ctx context.Context, r request) error
	// forge may change what is served.
	forge func(r request, data []byte, path []erasure.Root) ([]byte, []erasure.Root)

	mu       sync.Mutex // guards what follows
	requests []request
	served   int64 // bytes handed over
}

// newNetwork has n holders of the blocks.
func newNetwork(n int, blocks ...*block) *network {
	net := &network{blocks: make(map[erasure.ID]*block)}
	for i := range n {
		net.peers = append(net.peers, sampling.Holder(fmt.Sprintf("peer-%03d", i)))
	}
	for _, b := range blocks {
		net.blocks[b.id] = b
	}
	return net
}

// For implements sampling.Holders: any peer may hold anything, and each piece
// begins with another.
func (n *network) For(_ context.Context, _ erasure.ID, piece, _ int) []sampling.Holder {
	var found []sampling.Holder
	for i := range n.peers {
		found = append(found, n.peers[(i+piece)%len(n.peers)])
	}
	return found
}

// Row implements sampling.Fetcher.
func (n *network) Row(ctx context.Context, h sampling.Holder, id erasure.ID, row int) ([]byte, []erasure.Root, error) {
	r := request{h, id, row}
	n.mu.Lock()
	n.requests = append(n.requests, r)
	n.mu.Unlock()
	if n.deny != nil {
		if err := n.deny(ctx, r); err != nil {
			return nil, nil, err
		}
	}
	b := n.blocks[id]
	if b == nil {
		return nil, nil, sampling.ErrNotHeld
	}
	data, path := b.rows[row], b.paths[row]
	if n.forge != nil {
		data, path = n.forge(r, bytes.Clone(data), append([]erasure.Root(nil), path...))
	}
	n.mu.Lock()
	n.served += int64(len(data)) + 32*int64(len(path))
	n.mu.Unlock()
	return data, path, nil
}

// asked returns how often each row of a block was asked for.
func (n *network) asked(id erasure.ID) map[int]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	times := make(map[int]int)
	for _, r := range n.requests {
		if r.id == id {
			times[r.row]++
		}
	}
	return times
}

// after waits, or returns an error when ctx ends first.
func after(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("no answer: %w", ctx.Err())
	}
}

var errUnreachable = errors.New("no route to host")

// withhold returns the given part of a block's rows, in a random order that
// seed determines.
func withhold(b *block, part float64, seed uint64) map[int]bool {
	gone := make(map[int]bool)
	order := rand.New(rand.NewPCG(seed, 1)).Perm(b.g.Rows())
	for _, row := range order[:int(part*float64(len(order))+0.5)] {
		gone[row] = true
	}
	return gone
}

// refuse makes every holder deny these rows of one block.
func refuse(b *block, gone map[int]bool) func(context.Context, request) error {
	return func(_ context.Context, r request) error {
		if r.id == b.id && gone[r.row] {
			return fmt.Errorf("row %d: %w", r.row, sampling.ErrNotHeld)
		}
		return nil
	}
}

// fresh is a target that is to be judged on a fresh head, long after it was announced.
func fresh(b *block) sampling.Target {
	return sampling.Target{Bundle: b.bundle, Fresh: true}
}

// against names a block to compare with; nil: none.
func against(control *erasure.Bundle) func(context.Context) *erasure.Bundle {
	return func(context.Context) *erasure.Bundle { return control }
}

func judge(t testing.TB, net *network, target sampling.Target, control *erasure.Bundle) sampling.Verdict {
	t.Helper()
	v, err := sampling.New(net, net, sampling.Config{}).Judge(context.Background(), target, against(control))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// check compares the parts of a verdict that follow from each other.
func check(t testing.TB, v sampling.Verdict) {
	t.Helper()
	verified := 0
	for _, c := range v.Causes {
		if c == sampling.Verified {
			verified++
		}
	}
	if len(v.Causes) != v.Rows || verified != v.Verified || v.Missing != v.Rows-v.Verified {
		t.Errorf("%v: %d causes of which %d verified, %d missing", v, len(v.Causes), verified, v.Missing)
	}
	if (v.Reason == "") != (v.State == sampling.Available) || (v.Bits > 0) != (v.State == sampling.Available) {
		t.Errorf("%v: state %q with reason %q and %d bits", v, v.State, v.Reason, v.Bits)
	}
}
