package deny_test

import (
	"errors"
	"strings"
	"testing"

	"granary/cmd/granary/internal/deny"
	"granary/erasure"
	"granary/ledger"
)

func TestListsAreReadStrictly(t *testing.T) {
	id, key := strings.Repeat("ab", 32), strings.Repeat("0c", 32)
	l, err := deny.Parse([]byte("# of others\n\nblock " + id + "  # why\r\npublisher\t" + key + "\nnamespace spam-1\nblock " + id))
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Blocks) != 1 || len(l.Publishers) != 1 || len(l.Namespaces) != 1 {
		t.Errorf("%+v", l)
	}
	var listed ledger.PublicKey
	if err := listed.UnmarshalText([]byte(key)); err != nil {
		t.Fatal(err)
	}
	parsed, err := erasure.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		id        erasure.ID
		publisher ledger.PublicKey
		namespace string
		want      bool
	}{
		"nothing of it": {erasure.ID{1}, ledger.PublicKey{2}, "good", false},
		"not known":     {erasure.ID{}, ledger.PublicKey{}, "", false},
		"the block":     {parsed, ledger.PublicKey{2}, "good", true},
		"the publisher": {erasure.ID{1}, listed, "", true},
		"the namespace": {erasure.ID{1}, ledger.PublicKey{2}, "spam-1", true},
	} {
		if got := l.Denies(c.id, c.publisher, c.namespace); got != c.want {
			t.Errorf("%s: %t, want %t", what, got, c.want)
		}
	}
	for _, bad := range []string{
		"block", "block " + id + " " + id, "block " + id[2:], "publisher x", "namespace Spam", "owner " + key, id, "block " + strings.Repeat("x", 1<<17),
	} {
		if _, err := deny.Parse([]byte("namespace good\n" + bad)); !errors.Is(err, deny.ErrList) {
			t.Errorf("%.40q: %v, want ErrList", bad, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("block " + strings.Repeat("ab", 32) + "\nnamespace x # y\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := deny.Parse(raw)
		if err == nil && l.Denies(erasure.ID{}, ledger.PublicKey{}, "") && !l.Blocks[erasure.ID{}] && !l.Publishers[ledger.PublicKey{}] {
			t.Error("denies what is not known")
		}
	})
}
