package kad

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

const (
	// maxRecords bounds the provider records a node keeps for the DHT, some
	// 300 bytes each: 40 MiB.
	maxRecords = 1 << 17

	// maxAnswer is how many providers of one key are named in one answer. The 20
	// servers of a key name different ones, so that a lookup finds hundreds of
	// them, and an answer has 4 KiB however many there are.
	maxAnswer = 32

	// maxRecordsOfPeer bounds those of one provider. In a network of up to 20
	// nodes everybody keeps everybody's: 64 groups, and one per block.
	maxRecordsOfPeer = 1 << 14
)

// records keeps the DHT's provider records in memory, where any peer can put
// them. kad-dht's default is a map of all records without bound, and copies it
// whole to look one key up; this one is bounded and indexed by key.
//
// It stores keys of the form /providers/KEY/PEER and no others. A record beyond
// the bounds is dropped, or takes the place of another, without an error: the
// DHT is best effort, and kad-dht would retry.
type records struct {
	mu     sync.Mutex                   // guards what follows
	byKey  map[string]map[string][]byte // KEY → PEER → value
	byPeer map[string]int               // PEER → number of its records
	count  int
}

var _ ds.Batching = (*records)(nil)

func newRecords() *records {
	return &records{byKey: make(map[string]map[string][]byte), byPeer: make(map[string]int)}
}

func splitRecord(key ds.Key) (dhtKey, provider string, err error) {
	rest, ok := strings.CutPrefix(key.String(), "/providers/")
	if ok {
		dhtKey, provider, ok = strings.Cut(rest, "/")
	}
	if !ok {
		return "", "", fmt.Errorf("%q is no provider record", key)
	}
	return dhtKey, provider, nil
}

// Put implements datastore.Write.
func (r *records) Put(_ context.Context, key ds.Key, value []byte) error {
	k, p, err := splitRecord(key)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.byKey[k][p]; !ok {
		if r.byPeer[p] >= maxRecordsOfPeer {
			return nil
		}
		if r.count >= maxRecords {
			r.evict()
		}
		if r.byKey[k] == nil {
			r.byKey[k] = make(map[string][]byte)
		}
		r.byPeer[p]++
		r.count++
	}
	r.byKey[k][p] = value
	return nil
}

// evict removes some record: whoever floods the store loses most of them.
func (r *records) evict() {
	for k, providers := range r.byKey {
		for p := range providers {
			r.remove(k, p)
			return
		}
	}
}

func (r *records) remove(k, p string) {
	if _, ok := r.byKey[k][p]; !ok {
		return
	}
	delete(r.byKey[k], p)
	if len(r.byKey[k]) == 0 {
		delete(r.byKey, k)
	}
	if r.byPeer[p]--; r.byPeer[p] == 0 {
		delete(r.byPeer, p)
	}
	r.count--
}

// Delete implements datastore.Write.
func (r *records) Delete(_ context.Context, key ds.Key) error {
	k, p, err := splitRecord(key)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(k, p)
	return nil
}

// Get implements datastore.Read.
func (r *records) Get(_ context.Context, key ds.Key) ([]byte, error) {
	k, p, err := splitRecord(key)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if value, ok := r.byKey[k][p]; ok {
		return value, nil
	}
	return nil, ds.ErrNotFound
}

// Has implements datastore.Read.
func (r *records) Has(ctx context.Context, key ds.Key) (bool, error) {
	_, err := r.Get(ctx, key)
	if err == ds.ErrNotFound {
		return false, nil
	}
	return err == nil, err
}

// GetSize implements datastore.Read.
func (r *records) GetSize(ctx context.Context, key ds.Key) (int, error) {
	value, err := r.Get(ctx, key)
	if err != nil {
		return -1, err
	}
	return len(value), nil
}

// Query implements datastore.Read for the prefixes /providers, which gives all
// records, and /providers/KEY, which gives maxAnswer of them, drawn at random
// each time.
func (r *records) Query(_ context.Context, q query.Query) (query.Results, error) {
	prefix := strings.Trim(q.Prefix, "/") + "/"
	k, ok := strings.CutPrefix(prefix, "providers/")
	if !ok {
		return nil, fmt.Errorf("query of %q: holds provider records only", q.Prefix)
	}
	k = strings.TrimSuffix(k, "/")
	var entries []query.Entry
	add := func(k string, providers map[string][]byte) {
		for p, value := range providers {
			entries = append(entries, query.Entry{Key: "/providers/" + k + "/" + p, Value: value, Size: len(value)})
		}
	}
	r.mu.Lock()
	if k != "" {
		add(k, some(r.byKey[k]))
	} else {
		for k, providers := range r.byKey {
			add(k, providers)
		}
	}
	r.mu.Unlock()
	q.Prefix = "" // applied; what remains are filters, orders and limits
	return query.NaiveQueryApply(q, query.ResultsWithEntries(q, entries)), nil
}

// some returns maxAnswer of the providers at most, each as likely as any other.
func some(providers map[string][]byte) map[string][]byte {
	if len(providers) <= maxAnswer {
		return providers
	}
	chosen := make([]string, 0, maxAnswer)
	seen := 0
	for p := range providers { // reservoir sampling
		seen++
		if len(chosen) < maxAnswer {
			chosen = append(chosen, p)
		} else if i := rand.IntN(seen); i < maxAnswer {
			chosen[i] = p
		}
	}
	few := make(map[string][]byte, maxAnswer)
	for _, p := range chosen {
		few[p] = providers[p]
	}
	return few
}

// Batch implements datastore.Batching. It is not atomic, nor needs to be.
func (r *records) Batch(context.Context) (ds.Batch, error) { return ds.NewBasicBatch(r), nil }

// Sync implements datastore.Datastore; there is nothing to sync.
func (r *records) Sync(context.Context, ds.Key) error { return nil }

// Close implements datastore.Datastore; there is nothing to close.
func (r *records) Close() error { return nil }

// uncached is the cache of provider sets that keeps none: what it kept would be
// given as the same answer again and again.
type uncached struct{}

func (uncached) Add(any, any) bool                { return false }
func (uncached) Get(any) (any, bool)              { return nil, false }
func (uncached) Contains(any) bool                { return false }
func (uncached) Peek(any) (any, bool)             { return nil, false }
func (uncached) Remove(any) bool                  { return false }
func (uncached) RemoveOldest() (a, b any, _ bool) { return nil, nil, false }
func (uncached) GetOldest() (a, b any, _ bool)    { return nil, nil, false }
func (uncached) Keys() []any                      { return nil }
func (uncached) Len() int                         { return 0 }
func (uncached) Purge()                           {}
func (uncached) Resize(int) int                   { return 0 }
