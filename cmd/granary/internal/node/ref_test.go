package node_test

import (
	"strings"
	"testing"

	"granary/cmd/granary/internal/node"
)

func TestReferencesAreWrittenAsTheyAreRead(t *testing.T) {
	for _, text := range []string{"@archive", "#17", "4f1c9a02", strings.Repeat("4f1c9a02", 8)} {
		ref, err := node.ParseRef(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := ref.String(); got != text {
			t.Errorf("%s is written as %s", text, got)
		}
	}
}
