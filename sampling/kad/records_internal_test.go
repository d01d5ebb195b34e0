package kad

import (
	"errors"
	"fmt"
	"testing"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

func recordKey(k, p any) ds.Key { return ds.NewKey(fmt.Sprintf("/providers/%v/%v", k, p)) }

func countRecords(t *testing.T, r *records, prefix string) int {
	t.Helper()
	res, err := r.Query(t.Context(), query.Query{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := res.Rest()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		value, err := r.Get(t.Context(), ds.RawKey(e.Key))
		if err != nil || string(value) != string(e.Value) {
			t.Errorf("record %s: %x, %v, want %x", e.Key, value, err, e.Value)
		}
	}
	return len(entries)
}

func TestRecordsAreFoundByKey(t *testing.T) {
	r, ctx := newRecords(), t.Context()
	for k := range 3 {
		for p := range 4 {
			for range 2 { // the second time overwrites
				if err := r.Put(ctx, recordKey(k, p), []byte{byte(k), byte(p)}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for prefix, want := range map[string]int{"/providers/": 12, "/providers": 12, "/providers/1": 4, "/providers/9": 0} {
		if got := countRecords(t, r, prefix); got != want {
			t.Errorf("%s: %d records, want %d", prefix, got, want)
		}
	}
	if ok, err := r.Has(ctx, recordKey(1, 1)); !ok || err != nil {
		t.Errorf("has: %v, %v", ok, err)
	}
	for range 2 {
		if err := r.Delete(ctx, recordKey(1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Get(ctx, recordKey(1, 1)); !errors.Is(err, ds.ErrNotFound) {
		t.Errorf("get: %v, want ErrNotFound", err)
	}
	if got := countRecords(t, r, "/providers/1"); got != 3 {
		t.Errorf("%d records after a delete, want 3", got)
	}
	for _, key := range []string{"/", "/pk/x", "/providers/x"} {
		if err := r.Put(ctx, ds.NewKey(key), nil); err == nil {
			t.Errorf("%s was stored", key)
		}
	}
}

func TestRecordsAreBounded(t *testing.T) {
	r, ctx := newRecords(), t.Context()
	for k := range maxRecordsOfPeer + 10 {
		if err := r.Put(ctx, recordKey(k, "flooder"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if r.count != maxRecordsOfPeer {
		t.Errorf("%d records of one peer, want %d", r.count, maxRecordsOfPeer)
	}
	for i := range maxRecords {
		if err := r.Put(ctx, recordKey(i, i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if r.count != maxRecords {
		t.Errorf("%d records, want %d", r.count, maxRecords)
	}
	if ok, err := r.Has(ctx, recordKey(maxRecords-1, maxRecords-1)); !ok || err != nil {
		t.Errorf("the last record is not there: %v", err)
	}
	sum := 0
	for _, n := range r.byPeer {
		sum += n
	}
	if sum != maxRecords {
		t.Errorf("%d records counted by peer, want %d", sum, maxRecords)
	}
}

// A server names a few of many providers, others each time, so that a lookup
// finds most of them all the same.
func TestAnAnswerNamesAFewAtRandom(t *testing.T) {
	r := newRecords()
	for p := range 500 {
		if err := r.Put(t.Context(), recordKey("crowd", p), nil); err != nil {
			t.Fatal(err)
		}
	}
	named := make(map[string]bool)
	for range 100 {
		res, err := r.Query(t.Context(), query.Query{Prefix: "/providers/crowd"})
		if err != nil {
			t.Fatal(err)
		}
		entries, err := res.Rest()
		if err != nil || len(entries) != maxAnswer {
			t.Fatalf("%d records in an answer, %v; want %d", len(entries), err, maxAnswer)
		}
		for _, e := range entries {
			named[e.Key] = true
		}
	}
	// Each is left out of all with probability (1 - 32/500)^100 = 0.0013.
	if len(named) < 480 {
		t.Errorf("100 answers name %d of 500", len(named))
	}
	if got := countRecords(t, r, "/providers"); got != 500 {
		t.Errorf("%d records kept, want 500", got)
	}
}
