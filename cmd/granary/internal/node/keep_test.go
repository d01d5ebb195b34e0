package node_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"granary/blobstore"
	"granary/cmd/granary/internal/node"
)

func openShelf(t *testing.T) (*blobstore.Store, *node.Shelf) {
	t.Helper()
	s, err := blobstore.Open(t.Context(), t.TempDir(), blobstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, node.NewShelf(s, 0)
}

func status(t *testing.T, s *node.Shelf, b *blobstore.Block) node.BlockStatus {
	t.Helper()
	_, st, err := s.Block(node.Ref{ID: b.ID()})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestAnnouncementsProlongTheKeep: each counts once, however often the log is
// read.
func TestAnnouncementsProlongTheKeep(t *testing.T) {
	s, shelf := openShelf(t)
	b, err := s.Import(t.Context(), "kept", strings.NewReader("kept"), nil)
	if err != nil {
		t.Fatal(err)
	}
	day := func(n int) time.Time { return time.Date(2026, 1, 1+n, 0, 0, 0, 0, time.UTC) }
	for _, step := range []struct {
		index     uint64
		announced int // day
		keep      int // days
		until     int // day
	}{
		{5, 0, 30, 30},
		{5, 0, 30, 30}, // the log is read again
		{9, 10, 30, 60},
		{5, 0, 30, 60},
		{9, 10, 30, 60},
		{12, 70, 1, 71}, // after it had ended
	} {
		if err := node.Owe(t.Context(), b, step.index, day(step.announced), step.keep); err != nil {
			t.Fatal(err)
		}
		st := status(t, shelf, b)
		if st.Until == nil || !st.Until.Equal(day(step.until)) || !slices.Equal(st.Kept, []node.Reason{node.ReasonCustody}) {
			t.Errorf("announcement %d of day %d for %d days: %v until %v, want custody until %v",
				step.index, step.announced, step.keep, st.Kept, st.Until, day(step.until))
		}
	}
}

func TestPinIsAReasonToKeep(t *testing.T) {
	s, shelf := openShelf(t)
	b, err := s.Import(t.Context(), "pinned", strings.NewReader("pinned"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if st := status(t, shelf, b); len(st.Kept) != 0 {
		t.Errorf("kept because %v, want no reason", st.Kept)
	}
	for range 2 {
		if err := shelf.Pin(t.Context(), b.ID()); err != nil {
			t.Fatal(err)
		}
	}
	if st := status(t, shelf, b); !slices.Equal(st.Kept, []node.Reason{node.ReasonPinned}) {
		t.Errorf("kept because %v, want pinned", st.Kept)
	}
}

// TestReasonsThatCannotBeReadKeepABlock: a damaged note, or a newer version's.
func TestReasonsThatCannotBeReadKeepABlock(t *testing.T) {
	s, shelf := openShelf(t)
	b, err := s.Import(t.Context(), "kept", strings.NewReader("kept"), nil)
	if err == nil {
		err = b.SetNote(t.Context(), "own", []byte("fetcheb"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := status(t, shelf, b).Kept; !slices.Equal(got, []node.Reason{node.ReasonPinned}) {
		t.Errorf("kept because %v, want pinned", got)
	}
}
