package kad

import (
	"bytes"
	"encoding/hex"
	"testing"

	"granary/erasure"
)

// The vectors of docs/spec/protocols.md.
func TestKeyVectors(t *testing.T) {
	id := erasure.ID(bytes.Repeat([]byte{0xab}, 32))
	for _, v := range []struct {
		key  []byte
		want string
	}{
		{ledgerKey("net"), "1220b3f833b89d55aab980f54c5f4c6c9873240349068085426bdde65401bcba3fa0"},
		{groupKey("net", 5), "1220bf32d3b91cf5b02ce729a1498ff6c7abd4912110fb8396add552a10936fb44c9"},
		{blockKey("net", id), "1220d04038a02a36fdd7fd9c72e57ca72ccf490c8b764b7280a565c65af32f0bea49"},
	} {
		if got := hex.EncodeToString(v.key); got != v.want {
			t.Errorf("key %s, want %s", got, v.want)
		}
	}
}
