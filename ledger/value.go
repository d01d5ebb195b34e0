package ledger

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"sort"
)

// The log says what happened; what is so now, its fold, has a root of its own in
// every head. So a light client need not read the log to know that a name points
// where somebody says, nor believe anybody that a block was never announced.

// committed lists the keys of the store, by first letter, whose values the state
// root covers: all that follows from the log alone and that others ask for.
const committed = "bgkopsw"

const (
	leafPrefix = 0 // SHA-256(0 ‖ path ‖ SHA-256(value))
	nodePrefix = 1 // SHA-256(1 ‖ left ‖ right)

	// maxValuePath bounds a proof: two keys whose hashes share 128 bits cost 2^64
	// hashes to find.
	maxValuePath = 128
)

// ValueProof shows what the state holds under a key, or that it holds nothing.
type ValueProof struct {
	// Path has the hashes beside the way from the root down to where the key is,
	// or would be.
	Path []Hash

	// Other is the leaf that stands where an absent key would be, as path and hash
	// of its value: empty if nothing stands there, and for a key that is there.
	Other []byte
}

// VerifyValue returns ErrProof unless p shows that the state with head h holds
// value under key; nil: that it holds nothing. See AccountKey and its like.
func VerifyValue(h Head, key, value []byte, p ValueProof) error {
	path := sha256.Sum256(key)
	var at Hash
	switch {
	case len(p.Path) > maxValuePath:
		return fmt.Errorf("%w: %d hashes", ErrProof, len(p.Path))
	case value != nil && len(p.Other) != 0:
		return fmt.Errorf("%w: a value and another leaf in its place", ErrProof)
	case value != nil:
		at = leafHash(path, sha256.Sum256(value))
	case len(p.Other) == 2*len(path):
		other := Hash(p.Other[:32])
		if other == path || sharedBits(other, path) < len(p.Path) {
			return fmt.Errorf("%w: the other leaf does not stand in the way", ErrProof)
		}
		at = leafHash(other, Hash(p.Other[32:]))
	case len(p.Other) != 0:
		return fmt.Errorf("%w: leaf of %d bytes", ErrProof, len(p.Other))
	}
	for depth := len(p.Path) - 1; depth >= 0; depth-- {
		if left := p.Path[depth]; bit(path, depth) {
			at = nodeHash(left, at)
		} else {
			at = nodeHash(at, left)
		}
	}
	if at != h.State {
		return fmt.Errorf("%w: key %.32q leads to another state", ErrProof, key)
	}
	return nil
}

// ValueAt returns what the state held under key when the log had a size, and the
// proof for the head of that size. The value is nil if there was none. It returns
// ErrNotFound for a size that no height ended with, and for a key that no head
// commits to.
func (s *State) ValueAt(key []byte, size uint64) ([]byte, ValueProof, error) {
	var p ValueProof
	if len(key) == 0 || bytes.IndexByte([]byte(committed), key[0]) < 0 {
		return nil, p, fmt.Errorf("key %.32q: %w", key, ErrNotFound)
	}
	at, err := s.stateRoot(size)
	if err != nil {
		return nil, p, err
	}
	path := Hash(sha256.Sum256(key))
	for at != (Hash{}) {
		n, err := s.stateNode(at)
		if err != nil {
			return nil, p, err
		}
		switch {
		case !n.leaf && bit(path, len(p.Path)):
			at, p.Path = n.right, append(p.Path, n.left)
		case !n.leaf:
			at, p.Path = n.left, append(p.Path, n.right)
		case n.path == path:
			return n.value, p, nil
		default:
			hash := sha256.Sum256(n.value)
			p.Other = slices.Concat(n.path[:], hash[:])
			return nil, p, nil
		}
		if len(p.Path) > 8*len(path) {
			return nil, p, fmt.Errorf("%w: endless state", ErrCorrupt)
		}
	}
	return nil, p, nil
}

// stateRoot returns the root of the state at the end of the height that brought
// the log to a size.
func (s *State) stateRoot(size uint64) (Hash, error) {
	raw := s.kv.Get(keyRoot(size))
	if raw == nil {
		return Hash{}, fmt.Errorf("no height ended with %d entries: %w", size, ErrNotFound)
	}
	if len(raw) != len(Hash{}) {
		return Hash{}, fmt.Errorf("%w: state root of size %d", ErrCorrupt, size)
	}
	return Hash(raw), nil
}

// commit takes all that was put since the last time into the state root, and
// keeps that root by the size of the log.
func (s *State) commit() error {
	pairs := make([]pair, 0, len(s.dirty))
	for key, value := range s.dirty {
		pairs = append(pairs, pair{sha256.Sum256([]byte(key)), value})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return bytes.Compare(a.path[:], b.path[:]) })
	root, err := s.merge(s.meta.State, 0, pairs)
	if err != nil {
		return err
	}
	s.meta.State = root
	clear(s.dirty)
	return s.kv.Put(keyRoot(s.meta.Size), root[:])
}

// pair is a value, and the hash of the key it is under.
type pair struct {
	path  Hash
	value []byte
}

// merge puts pairs, which are sorted and begin with the same depth bits, into
// the subtree at, and returns the new one. What is there stays: nodes are stored
// by their hash.
func (s *State) merge(at Hash, depth int, pairs []pair) (Hash, error) {
	if len(pairs) == 0 {
		return at, nil
	}
	var n stateNode
	if at != (Hash{}) {
		var err error
		if n, err = s.stateNode(at); err != nil {
			return at, err
		}
	}
	empty := at == Hash{} || n.leaf // no node: what there is goes into a new one
	if n.leaf {
		i, found := slices.BinarySearchFunc(pairs, n.path, func(p pair, path Hash) int { return bytes.Compare(p.path[:], path[:]) })
		if !found {
			pairs = slices.Insert(slices.Clone(pairs), i, pair{n.path, n.value})
		}
	}
	if empty && len(pairs) == 1 {
		return s.putNode(slices.Concat([]byte{leafPrefix}, pairs[0].path[:], pairs[0].value))
	}
	if depth >= 8*len(at) {
		return at, fmt.Errorf("%w: endless state", ErrCorrupt)
	}
	middle := sort.Search(len(pairs), func(i int) bool { return bit(pairs[i].path, depth) })
	left, err := s.merge(n.left, depth+1, pairs[:middle])
	if err != nil {
		return at, err
	}
	right, err := s.merge(n.right, depth+1, pairs[middle:])
	if err != nil {
		return at, err
	}
	return s.putNode(slices.Concat([]byte{nodePrefix}, left[:], right[:]))
}

// stateNode is a node of the state's tree as it is stored: a leaf with its value,
// or two subtrees.
type stateNode struct {
	leaf        bool
	path        Hash
	value       []byte
	left, right Hash
}

// stateNode reads a node. A leaf's value must not be modified.
func (s *State) stateNode(hash Hash) (stateNode, error) {
	raw := s.kv.Get(keyState(hash))
	switch {
	case len(raw) > 33 && raw[0] == leafPrefix:
		return stateNode{leaf: true, path: Hash(raw[1:33]), value: slices.Clone(raw[33:])}, nil
	case len(raw) == 65 && raw[0] == nodePrefix:
		return stateNode{left: Hash(raw[1:33]), right: Hash(raw[33:])}, nil
	}
	return stateNode{}, fmt.Errorf("%w: state node %s", ErrCorrupt, hash)
}

// putNode stores a node under its hash, which it returns.
func (s *State) putNode(raw []byte) (Hash, error) {
	hash := Hash(sha256.Sum256(raw))
	if raw[0] == leafPrefix {
		hash = leafHash(Hash(raw[1:33]), sha256.Sum256(raw[33:]))
	}
	return hash, s.kv.Put(keyState(hash), raw)
}

func leafHash(path, value Hash) Hash {
	return sha256.Sum256(slices.Concat([]byte{leafPrefix}, path[:], value[:]))
}

func nodeHash(left, right Hash) Hash {
	return sha256.Sum256(slices.Concat([]byte{nodePrefix}, left[:], right[:]))
}

// bit returns bit i of a path, from the most significant of the first byte.
func bit(path Hash, i int) bool { return path[i/8]>>(7-i%8)&1 == 1 }

// sharedBits is how many bits two paths begin with alike.
func sharedBits(a, b Hash) int {
	for i := range 8 * len(a) {
		if bit(a, i) != bit(b, i) {
			return i
		}
	}
	return 8 * len(a)
}
