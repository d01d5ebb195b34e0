package node_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"granary/blobstore"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
)

// TestWhatIsInTheWayOfAScrubIsNoDamage: neither an index that cannot be written
// nor a file that cannot be opened says that a piece is bad.
func TestWhatIsInTheWayOfAScrubIsNoDamage(t *testing.T) {
	for name, test := range map[string]struct {
		harm  func(dir, block string) error
		state string
		sum   node.ScrubSummary // what it says of blocks
		end   error
	}{
		"index": {
			harm:  func(dir, _ string) error { return os.Truncate(filepath.Join(dir, "index.db"), 0) },
			state: "unchecked",
			sum:   node.ScrubSummary{Blocks: 1, Unchecked: 1}, // and no more are looked at
			end:   blobstore.ErrFailed,
		},
		"file": {
			harm: func(_, block string) error {
				path := filepath.Join(block, "content")
				return errors.Join(os.Remove(path), os.Symlink("content", path))
			},
			state: "unchecked",
			sum:   node.ScrubSummary{Blocks: 2, Unchecked: 1},
		},
		"damage": {
			harm:  func(_, block string) error { return os.Truncate(filepath.Join(block, "content"), 0) },
			state: "damaged",
			sum:   node.ScrubSummary{Blocks: 2, Damaged: 1},
		},
		"folder": {
			harm:  func(_, block string) error { return os.Rename(block, block+".away") },
			state: "damaged",
			sum:   node.ScrubSummary{Blocks: 2, Damaged: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			store, err := blobstore.Open(t.Context(), dir, blobstore.Config{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() })
			var refs []node.Ref
			for i := range byte(2) {
				data := bytes.Repeat([]byte{i + 1}, 3*erasure.RowSize)
				b, err := store.Import(t.Context(), "block", bytes.NewReader(data), nil)
				if err != nil {
					t.Fatal(err)
				}
				refs = append(refs, node.Ref{ID: b.ID()})
			}
			if err := test.harm(dir, filepath.Join(dir, "blocks", refs[0].ID.String())); err != nil {
				t.Fatal(err)
			}
			var got []node.ScrubResult
			sum, err := node.NewShelf(store, 0).Scrub(t.Context(), node.ScrubOptions{Refs: refs}, nil, func(r node.ScrubResult) {
				got = append(got, r)
			})
			if !errors.Is(err, test.end) {
				t.Errorf("the scrub ended with %v, want %v", err, test.end)
			}
			if len(got) == 0 || got[0].State != test.state {
				t.Errorf("found %+v, want the first %s", got, test.state)
			}
			if sum.Blocks != test.sum.Blocks || sum.Damaged != test.sum.Damaged || sum.Unchecked != test.sum.Unchecked {
				t.Errorf("summary %+v, want %+v", sum, test.sum)
			}
		})
	}
}
