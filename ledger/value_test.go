package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"granary/erasure"
	"granary/ledger"
)

// knownState has some hundred accounts and two names, at two sizes of the log.
func knownState(t testing.TB) (n *node, before, after ledger.Head) {
	t.Helper()
	n = newNode(t, testGenesis())
	for i := range uint64(100) {
		n.accept(t, transfer(t, "alice", i+1, fmt.Sprint("person ", i), 1))
	}
	n.accept(t, naming(t, "bob", 1, ledger.Naming{Name: "x", Terms: 1}))
	before = n.Head()
	n.accept(t, naming(t, "bob", 2, ledger.Naming{Name: "x", Terms: 1}), naming(t, "bob", 3, ledger.Naming{Name: "y", Terms: 1}))
	return n, before, n.Head()
}

func TestValuesAreProven(t *testing.T) {
	n, before, after := knownState(t)
	keys := [][]byte{
		ledger.NameKey("x"), ledger.NameKey("y"), ledger.NameKey("z"), ledger.NetworkKey(), ledger.SetKey(0), ledger.SetKey(1),
		ledger.AccountKey(ledger.KeyOf(key("alice"))), ledger.AccountKey(ledger.PublicKey{}), ledger.BlockKey(erasure.ID{1}),
		ledger.ProposedKey(ledger.PublicKey{}), ledger.ProposalKey(1),
	}
	for i := range 100 {
		keys = append(keys, ledger.AccountKey(ledger.KeyOf(key(fmt.Sprint("person ", i)))), ledger.NameKey(fmt.Sprint("name-", i)))
	}
	present := 0
	for _, h := range []ledger.Head{before, after} {
		for _, k := range keys {
			value, proof, err := n.ValueAt(k, h.Size)
			if err != nil {
				t.Fatal(err)
			}
			if err := ledger.VerifyValue(h, k, value, proof); err != nil {
				t.Fatalf("key %x: %v", k, err)
			}
			if value != nil {
				present++
			}
			refuseOthers(t, h, k, value, proof)
		}
	}
	if present != 2*(100+4)+1 {
		t.Errorf("%d values, want %d", present, 2*(100+4)+1)
	}
	old, _, err := n.ValueAt(ledger.NameKey("x"), before.Size)
	if err != nil {
		t.Fatal(err)
	}
	was, err := ledger.ParseName("x", old)
	if err != nil || was.Trail.Count != 1 || n.name(t, "x").Trail.Count != 2 {
		t.Errorf("what the name was: %+v, %v", was, err)
	}
}

// refuseOthers alters everything that a proof says.
func refuseOthers(t *testing.T, h ledger.Head, k, value []byte, p ledger.ValueProof) {
	t.Helper()
	bad := func(what string, k, value []byte, p ledger.ValueProof) {
		t.Helper()
		if err := ledger.VerifyValue(h, k, value, p); !errors.Is(err, ledger.ErrProof) {
			t.Fatalf("key %x, %s: %v, want ErrProof", k, what, err)
		}
	}
	bad("another key", append(bytes.Clone(k), 0), value, p)
	if value != nil {
		bad("said to be absent", k, nil, p)
		bad("another value", k, append(bytes.Clone(value), 0), p)
		bad("with another leaf", k, value, ledger.ValueProof{Path: p.Path, Other: make([]byte, 64)})
	} else {
		bad("said to be there", k, []byte{1}, ledger.ValueProof{Path: p.Path})
		bad("with a short leaf", k, nil, ledger.ValueProof{Path: p.Path, Other: make([]byte, 63)})
		if len(p.Other) > 0 {
			bad("without the other leaf", k, nil, ledger.ValueProof{Path: p.Path})
			value := bytes.Clone(p.Other)
			value[63] ^= 1
			bad("other leaf of another value", k, nil, ledger.ValueProof{Path: p.Path, Other: value})
		}
	}
	for i := range p.Path {
		path := append([]ledger.Hash{}, p.Path...)
		path[i][7] ^= 1
		bad("another path", k, value, ledger.ValueProof{Path: path, Other: p.Other})
		bad("a shorter path", k, value, ledger.ValueProof{Path: p.Path[:i], Other: p.Other})
	}
	bad("a longer path", k, value, ledger.ValueProof{Path: append(p.Path[:len(p.Path):len(p.Path)], ledger.Hash{}), Other: p.Other})
	bad("an endless path", k, value, ledger.ValueProof{Path: make([]ledger.Hash, 1000), Other: p.Other})
}

func TestValuesOfNoHead(t *testing.T) {
	n, before, after := knownState(t)
	for _, size := range []uint64{0, before.Size + 1, after.Size + 1, 1 << 63} {
		if _, _, err := n.ValueAt(ledger.NameKey("x"), size); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("size %d: %v, want ErrNotFound", size, err)
		}
	}
	for _, k := range []string{"", "m", "a12345678", "t", "unknown"} {
		if _, _, err := n.ValueAt([]byte(k), after.Size); !errors.Is(err, ledger.ErrNotFound) {
			t.Errorf("key %q: %v, want ErrNotFound", k, err)
		}
	}
}

func TestStateRootIsTheReferences(t *testing.T) {
	values := map[string][]byte{}
	n, _, after := knownState(t)
	n.kv.All(func(k string, v []byte) {
		switch k[0] {
		case 'b', 'g', 'k', 'o', 'p', 's', 'w':
			values[k] = v
		}
	})
	if want := refStateRoot(values); after.State != want {
		t.Errorf("state root %s, want %s", after.State, want)
	}
}

func FuzzVerifyValue(f *testing.F) {
	n, _, h := knownState(f)
	for _, k := range [][]byte{ledger.NameKey("x"), ledger.NameKey("absent")} {
		value, p, err := n.ValueAt(k, h.Size)
		if err != nil {
			f.Fatal(err)
		}
		var path []byte
		for _, hash := range p.Path {
			path = append(path, hash[:]...)
		}
		f.Add(k, value, path, p.Other)
	}
	f.Fuzz(func(t *testing.T, k, value, path, other []byte) {
		p := ledger.ValueProof{Other: other}
		for len(path) >= 32 {
			p.Path, path = append(p.Path, ledger.Hash(path[:32])), path[32:]
		}
		if len(value) == 0 {
			value = nil
		}
		if ledger.VerifyValue(h, k, value, p) != nil || len(k) == 0 {
			return
		}
		got, _, err := n.ValueAt(k, h.Size)
		if err == nil && !bytes.Equal(got, value) {
			t.Errorf("key %x is proven to have %x, the state says %x", k, value, got)
		}
	})
}

// FuzzKnown reads values as a light client does, from a stranger who has
// signatures: none may panic.
func FuzzKnown(f *testing.F) {
	n, _, h := knownState(f)
	at := n.accept(f, propose(f, 0, 1, joining(1)))
	for _, k := range [][]byte{
		ledger.NameKey("x"), ledger.NetworkKey(), ledger.SetKey(0), ledger.AccountKey(ledger.KeyOf(key("alice"))),
		ledger.ProposedKey(validators(1)[0].Consensus), ledger.ProposalKey(at),
	} {
		value, _, err := n.ValueAt(k, n.Head().Size)
		if err != nil || value == nil {
			f.Fatalf("%s: %v at %d", k, err, h.Size)
		}
		f.Add(value)
	}
	f.Fuzz(func(_ *testing.T, value []byte) {
		_, _ = ledger.ParseName("x", value)
		_, _, _ = ledger.ParseNetwork(value)
		_, _, _ = ledger.ParseValidators(value)
		_, _ = ledger.ParseAccount(value)
		_, _ = ledger.ParseKnown(value)
		_, _ = ledger.ParseProposed(value)
		_, _ = ledger.ParseProposal(1, ledger.Change{}, value)
	})
}

func BenchmarkState(b *testing.B) {
	n, _, _ := knownState(b)
	for i := range uint64(10_000) {
		if _, err := n.Apply(n.Height()+1, n.now, [][]byte{transfer(b, "alice", 101+i, fmt.Sprint("more ", i), 1)}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("ValueAt", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, p, err := n.ValueAt(ledger.NameKey("x"), n.Head().Size); err != nil || len(p.Path) == 0 {
				b.Fatal(err)
			}
		}
	})
}
