package ledger

import (
	"fmt"
	"slices"
	"sort"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// The log's tree: every hash of a perfect subtree is stored once, when its last
// leaf comes, and never changes. All proofs are made of such hashes.

// rangeTo returns the perfect subtrees that cover the first size entries.
func (s *State) rangeTo(size uint64) (*compact.Range, error) {
	hashes, err := s.nodes(compact.RangeNodes(0, size, nil))
	if err != nil {
		return nil, err
	}
	factory := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	return factory.NewRange(0, size, hashes)
}

// appendLeaf stores a leaf and the subtrees that it completes; the head moves.
// right covers the log before and afterwards.
func (s *State) appendLeaf(right *compact.Range, leaf []byte) error {
	if err := s.kv.Put(keyLeaf(s.meta.Size), leaf); err != nil {
		return err
	}
	var failed error
	store := func(id compact.NodeID, hash []byte) {
		failed = firstError(failed, s.kv.Put(keyNode(id.Level, id.Index), hash))
	}
	if err := right.Append(rfc6962.DefaultHasher.HashLeaf(leaf), store); err != nil {
		return fmt.Errorf("%w: log: %v", ErrCorrupt, err)
	}
	root, err := right.GetRootHash(nil)
	if err != nil {
		return fmt.Errorf("%w: log: %v", ErrCorrupt, err)
	}
	s.meta.Size, s.meta.Root = right.End(), Hash(root)
	return failed
}

// Leaf returns the bytes of an entry, a copy: ErrNotFound beyond the head.
func (s *State) Leaf(index uint64) ([]byte, error) {
	if index >= s.meta.Size {
		return nil, fmt.Errorf("entry %d of %d: %w", index, s.meta.Size, ErrNotFound)
	}
	leaf := s.kv.Get(keyLeaf(index))
	if leaf == nil {
		return nil, fmt.Errorf("%w: entry %d is missing", ErrCorrupt, index)
	}
	return slices.Clone(leaf), nil
}

// Entry returns entry number index: ErrNotFound beyond the head.
func (s *State) Entry(index uint64) (Entry, error) {
	leaf, err := s.Leaf(index)
	if err != nil {
		return Entry{}, err
	}
	e, err := ParseEntry(leaf)
	if err != nil {
		return Entry{}, fmt.Errorf("%w: entry %d: %v", ErrCorrupt, index, err)
	}
	return e, nil
}

// announceEntry returns the entry of an announcement.
func (s *State) announceEntry(index uint64) (Entry, error) {
	e, err := s.Entry(index)
	if err == nil && (e.Kind != EntryTx || e.Tx.Kind != KindAnnounce) {
		err = fmt.Errorf("%w: entry %d is no announcement", ErrCorrupt, index)
	}
	return e, err
}

// HeadAt returns the head after a height, which is what the header of the next
// one commits to: ErrNotFound beyond the last height.
func (s *State) HeadAt(height int64) (Head, error) {
	if height < 0 || height > s.meta.Height {
		return Head{}, fmt.Errorf("head at height %d of %d: %w", height, s.meta.Height, ErrNotFound)
	}
	if height == s.meta.Height {
		return s.Head(), nil
	}
	var failed error
	size := sort.Search(int(s.meta.Size), func(i int) bool {
		e, err := s.Entry(uint64(i))
		failed = firstError(failed, err)
		return e.Height > height
	})
	if failed != nil {
		return Head{}, failed
	}
	return s.headOf(uint64(size))
}

// headOf returns the head that the log had at a size that a height ended with.
func (s *State) headOf(size uint64) (Head, error) {
	covered, err := s.rangeTo(size)
	if err != nil {
		return Head{}, err
	}
	root, err := covered.GetRootHash(nil)
	if err != nil {
		return Head{}, fmt.Errorf("%w: log: %v", ErrCorrupt, err)
	}
	state, err := s.stateRoot(size)
	return Head{Size: size, Root: Hash(root), State: state}, err
}

// Inclusion returns the path from entry number index to the root that the log
// had at a size, for VerifyInclusion: ErrNotFound unless index < size ≤ head.
func (s *State) Inclusion(index, size uint64) ([]Hash, error) {
	if index >= size || size > s.meta.Size {
		return nil, fmt.Errorf("entry %d of %d of %d: %w", index, size, s.meta.Size, ErrNotFound)
	}
	nodes, err := proof.Inclusion(index, size)
	if err != nil {
		return nil, err
	}
	return s.path(nodes)
}

// Consistency returns the proof that the log of size from is the beginning of
// the log of size to, for VerifyConsistency: ErrNotFound unless from ≤ to ≤ head.
func (s *State) Consistency(from, to uint64) ([]Hash, error) {
	if from > to || to > s.meta.Size {
		return nil, fmt.Errorf("log from size %d to %d of %d: %w", from, to, s.meta.Size, ErrNotFound)
	}
	nodes, err := proof.Consistency(from, to)
	if err != nil {
		return nil, err
	}
	return s.path(nodes)
}

func (s *State) path(nodes proof.Nodes) ([]Hash, error) {
	hashes, err := s.nodes(nodes.IDs)
	if err != nil {
		return nil, err
	}
	hashes, err = nodes.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
	if err != nil {
		return nil, err
	}
	path := make([]Hash, len(hashes))
	for i, h := range hashes {
		path[i] = Hash(h)
	}
	return path, nil
}

// nodes reads the hashes of perfect subtrees.
func (s *State) nodes(ids []compact.NodeID) ([][]byte, error) {
	hashes := make([][]byte, len(ids))
	for i, id := range ids {
		h := s.kv.Get(keyNode(id.Level, id.Index))
		if len(h) != len(Hash{}) {
			return nil, fmt.Errorf("%w: log node %d of level %d", ErrCorrupt, id.Index, id.Level)
		}
		hashes[i] = slices.Clone(h)
	}
	return hashes, nil
}
