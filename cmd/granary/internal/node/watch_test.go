package node_test

import (
	"strings"
	"testing"

	"granary/cmd/granary/internal/node"
	"granary/ledger"
)

// A key is told by its bytes, however its digits were typed: records spell it in
// lower case.
func TestParseNamespace(t *testing.T) {
	key := ledger.PublicKey{0xab, 0xcd, 31: 0xef}.String()
	for text, want := range map[string]string{
		"": "", "library": "library", key: key, strings.ToUpper(key): key,
	} {
		if got, err := node.ParseNamespace(text); got != want || err != nil {
			t.Errorf("ParseNamespace(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"Library", "-", key[1:] + "g", key + "0"} {
		if got, err := node.ParseNamespace(text); err == nil {
			t.Errorf("ParseNamespace(%q) = %q, want an error", text, got)
		}
	}
}
