package node_test

import (
	"strings"
	"testing"

	"granary/cmd/granary/internal/node"
)

// TestInterruptedWorkIsTakenUpAgain: also when seeding is on again before the
// work has ended. Otherwise neither the node nor, by the cursor, the next one
// would know of it.
func TestInterruptedWorkIsTakenUpAgain(t *testing.T) {
	s, _ := openShelf(t)
	b, err := s.Import(t.Context(), "owed", strings.NewReader("owed"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name           string
		end            func(stop func(), forget func(uint64))
		waiting, later int
	}{
		{"interrupted", func(stop func(), _ func(uint64)) { stop() }, 1, 0},
		{"expired", func(_ func(), forget func(uint64)) { forget(5) }, 0, 0},
		{"another expired, and it failed", func(_ func(), forget func(uint64)) { forget(6) }, 0, 1},
		{"expired while interrupted", func(stop func(), forget func(uint64)) { stop(); forget(5) }, 0, 0},
	} {
		waiting, later := node.Interrupt(b.Bundle().Info, 5, c.end)
		if waiting != c.waiting || later != c.later {
			t.Errorf("%s: %d wait and %d are tried later, want %d and %d", c.name, waiting, later, c.waiting, c.later)
		}
	}
}
