package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"granary/ledger"
)

// The slow reference: RFC 6962 sections 2.1 to 2.1.2, word by word.

func slowRoot(leaves [][]byte) ledger.Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	}
	k := split(len(leaves))
	left, right := slowRoot(leaves[:k]), slowRoot(leaves[k:])
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

func slowPath(m int, leaves [][]byte) []ledger.Hash {
	if len(leaves) == 1 {
		return nil
	}
	k := split(len(leaves))
	if m < k {
		return append(slowPath(m, leaves[:k]), slowRoot(leaves[k:]))
	}
	return append(slowPath(m-k, leaves[k:]), slowRoot(leaves[:k]))
}

func slowSubproof(m int, leaves [][]byte, whole bool) []ledger.Hash {
	if m == len(leaves) {
		if whole {
			return nil
		}
		return []ledger.Hash{slowRoot(leaves)}
	}
	k := split(len(leaves))
	if m <= k {
		return append(slowSubproof(m, leaves[:k], whole), slowRoot(leaves[k:]))
	}
	return append(slowSubproof(m-k, leaves[k:], false), slowRoot(leaves[:k]))
}

// split is the largest power of two below n.
func split(n int) int {
	k := 1
	for k*2 < n {
		k *= 2
	}
	return k
}

// grownLog returns a node whose log has n entries, and the leaves.
func grownLog(t testing.TB, n uint64) (*node, [][]byte) {
	t.Helper()
	g := testGenesis()
	g.Params.Allowance, g.Params.AllowancePerDay = 1, 1<<20
	x := newNode(t, g)
	for i := uint64(0); x.Head().Size < n; i++ {
		x.accept(t, announce(t, string(binary.LittleEndian.AppendUint64(nil, i)), 1, record("a", 1, 1)))
	}
	var leaves [][]byte
	for i := range n {
		leaf, err := x.Leaf(i)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leaf)
	}
	return x, leaves
}

func TestProofsAreThoseOfRFC6962(t *testing.T) {
	const sizes = 64
	n, leaves := grownLog(t, sizes)
	heads := make([]ledger.Head, sizes+1)
	for size := 1; size <= sizes; size++ {
		// Each entry is a transaction and has a height of its own.
		head, err := n.HeadAt(int64(size) - 1)
		if err != nil {
			t.Fatal(err)
		}
		if want := (ledger.Head{Size: uint64(size), Root: slowRoot(leaves[:size]), State: head.State}); head != want {
			t.Fatalf("head of size %d: %+v, want %+v", size, head, want)
		}
		heads[size] = head
	}
	equal := func(a, b []ledger.Hash) bool {
		if len(a) != len(b) {
			return false
		}
		for i := range a {
			if a[i] != b[i] {
				return false
			}
		}
		return true
	}
	for size := 1; size <= sizes; size++ {
		for i := range size {
			path, err := n.Inclusion(uint64(i), uint64(size))
			if err != nil || !equal(path, slowPath(i, leaves[:size])) {
				t.Fatalf("entry %d of %d: path %v, %v", i, size, path, err)
			}
			if err := ledger.VerifyInclusion(heads[size], uint64(i), leaves[i], path); err != nil {
				t.Fatal(err)
			}
			for what, err := range map[string]error{
				"as another entry": ledger.VerifyInclusion(heads[size], uint64(i)^1, leaves[i], path),
				"as another leaf":  ledger.VerifyInclusion(heads[size], uint64(i), append([]byte{0}, leaves[i]...), path),
				"with more":        ledger.VerifyInclusion(heads[size], uint64(i), leaves[i], append(path, ledger.Hash{})),
			} {
				if !errors.Is(err, ledger.ErrProof) {
					t.Fatalf("entry %d of %d verifies %s: %v", i, size, what, err)
				}
			}
			for j := range path {
				path[j][0] ^= 1
				if ledger.VerifyInclusion(heads[size], uint64(i), leaves[i], path) == nil {
					t.Fatalf("entry %d of %d verifies with hash %d altered", i, size, j)
				}
				path[j][0] ^= 1
			}
		}
		for from := 1; from <= size; from++ {
			path, err := n.Consistency(uint64(from), uint64(size))
			want := slowSubproof(from, leaves[:size], true)
			if err != nil || !equal(path, want) {
				t.Fatalf("from %d to %d: %v, %v, want %v", from, size, path, err, want)
			}
			if err := ledger.VerifyConsistency(heads[from], heads[size], path); err != nil {
				t.Fatal(err)
			}
			forked := heads[from]
			forked.Root[31] ^= 1
			if err := ledger.VerifyConsistency(forked, heads[size], path); !errors.Is(err, ledger.ErrProof) {
				t.Fatalf("from a fork of %d to %d: %v", from, size, err)
			}
			if from < size && ledger.VerifyConsistency(heads[size], heads[from], path) == nil {
				t.Fatalf("the log shrank from %d to %d", size, from)
			}
			for j := range path {
				path[j][0] ^= 1
				if ledger.VerifyConsistency(heads[from], heads[size], path) == nil {
					t.Fatalf("from %d to %d verifies with hash %d altered", from, size, j)
				}
				path[j][0] ^= 1
			}
		}
	}
}

func TestProofsBeyondTheLogAreNotFound(t *testing.T) {
	n, _ := grownLog(t, 5)
	for _, c := range [][2]uint64{{0, 6}, {5, 5}, {0, 0}, {6, 5}, {1 << 63, 1<<64 - 1}} {
		if _, err := n.Inclusion(c[0], c[1]); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("inclusion %v: %v", c, err)
		}
	}
	for _, c := range [][2]uint64{{1, 6}, {5, 4}, {0, 1<<64 - 1}} {
		if _, err := n.Consistency(c[0], c[1]); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("consistency %v: %v", c, err)
		}
	}
	for _, height := range []int64{-1, 5, 1 << 62} {
		if _, err := n.HeadAt(height); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("height %d: %v", height, err)
		}
	}
}

func TestHeadsOfAllHeightsStay(t *testing.T) {
	n := newNode(t, testGenesis())
	heads := []ledger.Head{n.Head()}
	for i := range uint64(40) {
		var txs [][]byte
		if i%3 == 0 { // other heights are idle
			for j := range i % 4 {
				txs = append(txs, announce(t, []string{"alice", "bob", "carol"}[j], 1+i, record(fmt.Sprint("block ", i, j), 1000, 1)))
			}
		}
		n.blockAfter(t, 10*time.Minute, txs...)
		heads = append(heads, n.Head())
	}
	for height, want := range heads {
		if got, err := n.HeadAt(int64(height)); err != nil || got != want {
			t.Errorf("height %d: %+v, %v, want %+v", height, got, err, want)
		}
	}
	if heads[40].Size < 20 {
		t.Errorf("only %d entries", heads[40].Size)
	}
}

func TestEntryZeroIsTheGenesis(t *testing.T) {
	g := testGenesis()
	n := newNode(t, g)
	e, err := n.Entry(0)
	if err != nil {
		t.Fatal(err)
	}
	if e.Kind != ledger.EntryGenesis || e.Genesis != g.Hash() || e.Height != 0 || !e.Time.Equal(g.Time) {
		t.Errorf("entry %+v", e)
	}
	if head := n.Head(); head.Size != 1 || head.Root != slowRoot([][]byte{e.Encode()}) {
		t.Errorf("head %+v", head)
	}
}

func TestEntriesParse(t *testing.T) {
	n := newNode(t, testGenesis())
	r := record("a", 1000, 1)
	at := n.accept(t, announce(t, "alice", 1, r))
	n.certify(t, 1, to(at, r))
	n.accept(t, announce(t, "alice", 2, record("b", 1000, 1)))
	n.block(t)
	n.blockAfter(t, time.Hour)
	change := n.accept(t, propose(t, 0, 2, joining(1)))
	n.accept(t, vote(t, 1, 2, change, true), vote(t, 2, 2, change, true))
	seen := make(map[ledger.EntryKind]bool)
	for i := range n.Head().Size {
		leaf, err := n.Leaf(i)
		if err != nil {
			t.Fatal(err)
		}
		e, err := ledger.ParseEntry(leaf)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(e.Encode(), leaf) || len(leaf) > ledger.MaxEntry {
			t.Errorf("entry %d: %x encodes as %x", i, leaf, e.Encode())
		}
		seen[e.Kind] = true
		for j := range leaf {
			if _, err := ledger.ParseEntry(leaf[:j]); !errors.Is(err, ledger.ErrMalformed) {
				t.Fatalf("first %d bytes of entry %d: %v, want ErrMalformed", j, i, err)
			}
		}
	}
	if len(seen) != 5 {
		t.Errorf("saw only %v", seen)
	}
	if _, err := ledger.ParseEntry(make([]byte, ledger.MaxEntry+1)); !errors.Is(err, ledger.ErrMalformed) {
		t.Errorf("oversized: %v", err)
	}
	for what, bad := range map[string][]byte{
		"kind 5":          array(t, 5, 1, 1, []byte{}),
		"early change":    array(t, 4, 0, 0, []any{1, 1, 1}),
		"short change":    array(t, 4, 1, 1, []any{1, 1}),
		"too much voted":  array(t, 4, 1, 1, []any{1, 2, 1}),
		"negative height": array(t, 0, -1, 0, make([]byte, 32)),
		"negative time":   array(t, 0, 0, -1, make([]byte, 32)),
		"year 10,000":     array(t, 0, 0, 253_402_300_800_000, make([]byte, 32)),
		"short genesis":   array(t, 0, 0, 0, make([]byte, 31)),
		"long genesis":    array(t, 0, 0, 0, make([]byte, 33)),
		"no transaction":  array(t, 1, 1, 1, []byte{}),
		"later genesis":   array(t, 0, 1, 0, make([]byte, 32)),
		"early outcome":   array(t, 2, 0, 0, []any{1, make([]byte, 32), 1, 1}),
		"negative power":  array(t, 2, 1, 1, []any{1, make([]byte, 32), -1, 1}),
		"too much power":  array(t, 2, 1, 1, []any{1, make([]byte, 32), 2, 1}),
		"short outcome":   array(t, 2, 1, 1, []any{1, make([]byte, 32), 1}),
	} {
		if _, err := ledger.ParseEntry(bad); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", what, err)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	n := newNode(f, testGenesis())
	r := record("a", 1000, 1)
	at := n.accept(f, announce(f, "alice", 1, r))
	n.certify(f, 1, to(at, r))
	n.accept(f, naming(f, "bob", 1, ledger.Naming{Name: "x", Terms: 1, Target: r.ID()}), transfer(f, "bob", 2, "carol", 1))
	change := n.accept(f, propose(f, 0, 2, joining(1)))
	n.accept(f, vote(f, 1, 2, change, true), vote(f, 2, 2, change, true), rotate(f, "consensus 3", "attest 3", 1, "fresh"))
	for i := range n.Head().Size {
		leaf, err := n.Leaf(i)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(leaf)
	}
	f.Fuzz(func(t *testing.T, leaf []byte) {
		e, err := ledger.ParseEntry(leaf)
		if err != nil {
			if ledger.Code(err) == ledger.CodeOther {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		if !bytes.Equal(e.Encode(), leaf) {
			t.Errorf("%x encodes as %x", leaf, e.Encode())
		}
	})
}

// FuzzVerify feeds proofs of any shape to both verifiers.
func FuzzVerify(f *testing.F) {
	f.Add(uint64(1), uint64(3), []byte("leaf"), make([]byte, 64))
	f.Add(uint64(1<<63), uint64(1<<64-1), []byte{}, make([]byte, 64*32))
	f.Fuzz(func(t *testing.T, a, b uint64, leaf, proof []byte) {
		var path []ledger.Hash
		for ; len(proof) >= 32; proof = proof[32:] {
			path = append(path, ledger.Hash(proof[:32]))
		}
		from, to := ledger.Head{Size: a, Root: varied(a)}, ledger.Head{Size: b, Root: varied(b)}
		if ledger.VerifyInclusion(to, a, leaf, path) == nil {
			t.Error("an inclusion was proven in a tree that nobody has")
		}
		if err := ledger.VerifyConsistency(from, to, path); err == nil && a != 0 && a != b {
			t.Error("a consistency was proven between trees that nobody has")
		}
	})
}

func BenchmarkApplyAnnouncement(b *testing.B) {
	g := testGenesis()
	g.Params.Allowance, g.Params.AllowancePerDay = 1, 1<<40
	n := newNode(b, g)
	var txs [][]byte
	for i := range 10_000 {
		txs = append(txs, announce(b, string(binary.LittleEndian.AppendUint64(nil, uint64(i))), 1, record("a", 1, 1)))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i == len(txs) {
			b.StopTimer()
			n, i = newNode(b, g), 0
			b.StartTimer()
		}
		n.block(b, txs[i])
		i++
	}
}
