package chain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"granary/ledger"
	"granary/ledger/chain"
	"granary/ledger/light"
)

// history is what clients did to a ledger, and what they were told. The log is
// the order of everything: check holds it against what they saw.
type history struct {
	testing.TB
	genesis ledger.Genesis

	mu       sync.Mutex
	seen     uint64      // guarded by mu: the largest log that any client has proven by now
	ops      []operation // guarded by mu
	readings []reading   // guarded by mu
}

// operation is a transaction that a client asked for.
type operation struct {
	raw     []byte
	invoked uint64 // the largest log that anybody had proven when it was sent
	proven  uint64 // the log in which its client saw it; 0: never
	index   uint64 // where
}

// reading is a value that a client has proven.
type reading struct {
	key, value []byte
	size       uint64 // of the log whose head proves it
}

// client is somebody who sends transactions through some nodes and believes
// proofs only.
type client struct {
	*history
	*light.Client
	who   string
	nonce uint64
}

func (h *history) client(cl *light.Client, who string) *client {
	return &client{history: h, Client: cl, who: who}
}

// look verifies the present head, and says so to all.
func (c *client) look(ctx context.Context) uint64 {
	_, _ = c.Update(ctx) // behind, down or stale: then the head is that before
	head, _ := c.Head()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = max(c.seen, head.Size)
	return head.Size
}

// do sends a transaction and waits until the log has it, or until it is refused.
// It returns the reason then, or ctx's error.
func (c *client) do(ctx context.Context, tx ledger.Tx) error {
	next := c.look(ctx)
	tx.Pay = c.genesis.Params.Price(tx)
	raw, err := ledger.Sign(c.genesis.ChainID, key("%s", c.who), c.nonce+1, tx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	number, invoked := len(c.ops), c.seen
	c.ops = append(c.ops, operation{raw: raw, invoked: invoked})
	c.mu.Unlock()
	for ctx.Err() == nil {
		// Again, since a node that was killed forgets what waited.
		refused := c.Submit(ctx, raw)
		for size := c.look(ctx); next < size; {
			entries, err := c.Entries(ctx, next, light.MaxEntries)
			if err != nil {
				break // from another node, later
			}
			for _, e := range entries {
				if e.Kind == ledger.EntryTx && bytes.Equal(e.Tx.Encode(), raw) {
					c.nonce++
					c.mu.Lock()
					defer c.mu.Unlock()
					c.ops[number].proven, c.ops[number].index = size, next
					return nil
				}
				next++
			}
		}
		switch code := ledger.Code(refused); {
		case code <= ledger.CodeOther, errors.Is(refused, ledger.ErrNonce), errors.Is(refused, ledger.ErrWaiting):
			// It waits, or is in the log that the next look will show; or nobody answers.
		default:
			return refused
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return ctx.Err()
}

// read notes what the head proves about a key.
func (c *client) read(ctx context.Context, key []byte) {
	size := c.look(ctx)
	value, err := c.Value(ctx, key)
	if err != nil {
		return // nobody answers now
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readings = append(c.readings, reading{key, value, size})
}

// live announces a block, then gives credits away and takes names that others
// want, too, and reads, until ctx ends or it has done enough.
func (c *client) live(ctx context.Context, rounds int, others []string) {
	r := record("of " + c.who)
	r.Publisher = ledger.KeyOf(key("%s", c.who))
	if err := c.do(ctx, ledger.Tx{Kind: ledger.KindAnnounce, Record: r}); err != nil && ctx.Err() == nil {
		c.Errorf("%s announces: %v", c.who, err)
	}
	for i := 0; i < rounds && ctx.Err() == nil; i++ {
		whom := others[i%len(others)]
		if whom == c.who {
			whom = "nobody"
		}
		to := ledger.KeyOf(key("%s", whom))
		tx := ledger.Tx{Kind: ledger.KindTransfer, Transfer: ledger.Transfer{To: to, Credits: int64(1000 + i)}}
		name := fmt.Sprint("name-", i%3)
		if i%2 == 1 {
			tx = ledger.Tx{Kind: ledger.KindName, Naming: ledger.Naming{Name: name, Target: r.ID(), Terms: 1}}
		}
		switch err := c.do(ctx, tx); {
		case err == nil, ctx.Err() != nil:
		case tx.Kind == ledger.KindName && (errors.Is(err, ledger.ErrNotOwner) || errors.Is(err, ledger.ErrKeep)):
			// Another was first, or it is paid for long enough.
		case errors.Is(err, ledger.ErrCredits):
			// It has all been spent.
		default:
			c.Errorf("%s, %s: %v", c.who, tx.Kind, err)
		}
		c.read(ctx, ledger.AccountKey(to))
		c.read(ctx, ledger.NameKey(name))
	}
}

// check holds the history against a node that has the chain: what was
// acknowledged is in the log where its client saw it, once, and not before it was
// sent; the log is what its own transactions come to, height by height, on a
// state of nothing; and what was read is what that state held.
func (h *history) check(c *chain.Chain) {
	h.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	log, size := h.log(c)

	places := make(map[string][]uint64)
	for i, e := range log {
		if e.Kind == ledger.EntryTx {
			raw := string(e.Tx.Encode())
			places[raw] = append(places[raw], uint64(i))
		}
	}
	acknowledged := 0
	for _, op := range h.ops {
		at := places[string(op.raw)]
		switch {
		case len(at) > 1:
			h.Errorf("a transaction is in the log at %v", at)
		case op.proven == 0:
		case len(at) == 0:
			h.Errorf("what was acknowledged as entry %d is lost", op.index)
		case at[0] != op.index || at[0] < op.invoked || at[0] >= op.proven:
			h.Errorf("entry %d: seen as %d of %d, and sent when there were %d", at[0], op.index, op.proven, op.invoked)
		default:
			acknowledged++
		}
	}

	readings := make(map[uint64][]reading)
	for _, r := range h.readings {
		readings[r.size] = append(readings[r.size], r)
	}
	state, err := ledger.Init(ledger.NewMemory(), h.genesis)
	if err != nil {
		h.Fatal(err)
	}
	read := 0
	for next := state.Head().Size; ; {
		for _, r := range readings[state.Head().Size] {
			read++
			value, _, err := state.ValueAt(r.key, r.size)
			if err != nil || !bytes.Equal(value, r.value) {
				h.Errorf("%q was read as %x from the head of size %d, it was %x, %v", r.key, r.value, r.size, value, err)
			}
		}
		delete(readings, state.Head().Size)
		if next >= size {
			break
		}
		var txs [][]byte
		var want []ledger.Entry
		height := state.Height() + 1
		for ; next < size && log[next].Height == height; next++ {
			want = append(want, log[next])
			if log[next].Kind == ledger.EntryTx {
				txs = append(txs, log[next].Tx.Encode())
			}
		}
		applied, err := state.Apply(height, blockTime(h, c, height), txs)
		if err := errors.Join(append(applied.Results, err)...); err != nil {
			h.Fatalf("height %d again: %v", height, err)
		}
		for i, e := range applied.Entries {
			if len(applied.Entries) != len(want) || !bytes.Equal(e.Encode(), want[i].Encode()) {
				h.Fatalf("height %d again has other entries than the log", height)
			}
		}
	}
	if len(readings) > 0 {
		h.Errorf("%d heads that no height ended with were read from", len(readings))
	}
	h.Logf("%d operations, %d acknowledged, %d readings, %d entries", len(h.ops), acknowledged, read, size)
	if acknowledged == 0 || read == 0 {
		h.Error("nothing happened")
	}
}

// log returns the log of a node as it is now.
func (h *history) log(c *chain.Chain) (all []ledger.Entry, size uint64) {
	h.Helper()
	err := c.View(func(s *ledger.State) {
		size = s.Head().Size
		for i := range size {
			e, err := s.Entry(i)
			if err != nil {
				h.Error(err)
			}
			all = append(all, e)
		}
	})
	if err != nil {
		h.Fatal(err)
	}
	return all, size
}

// blockTime is the time of a height by its header.
func blockTime(tb testing.TB, c *chain.Chain, height int64) time.Time {
	tb.Helper()
	raw, err := c.LightBlock(height)
	if err != nil {
		tb.Fatal(err)
	}
	var b cmtproto.LightBlock
	if err := b.Unmarshal(raw); err != nil {
		tb.Fatal(err)
	}
	return b.SignedHeader.Header.Time
}

// TestConcurrentHistoryIsTheLog has clients of different nodes announce, pay and
// race for names while a node restarts.
func TestConcurrentHistoryIsTheLog(t *testing.T) {
	t.Parallel() // most of it is waiting
	n := foundNetwork(t, 4, 0, time.Second)
	n.genesis.Params.Fee = ledger.DevnetParams().Fee
	for i := range 4 {
		n.start(i)
	}
	for i := range 4 {
		n.until(i, 0, "the first height", func(u chain.Update) bool { return u.Height > 0 })
	}
	h := &history{TB: t, genesis: n.genesis}
	people := []string{"alice", "bob", "carol", "dave"}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	via := newSwitching(n)
	var all sync.WaitGroup
	for i, who := range people {
		cl, err := light.Open(ctx, light.Config{Genesis: n.genesis}, via)
		if err != nil {
			t.Fatal(err)
		}
		// Two nodes each: a pair of neighbours, one of which another client has.
		cl.SetPeers([]string{fmt.Sprint(i), fmt.Sprint((i + 1) % 4)})
		all.Go(func() { h.client(cl, who).live(ctx, 6, people) })
	}
	eventually(t, "some acknowledged operations", func() bool { return h.acknowledged() >= 8 })
	via.set(2, nil)
	n.stop(2)
	via.set(2, n.start(2))
	all.Wait()
	if ctx.Err() != nil {
		t.Fatal("clients did not get done")
	}
	n.sameHead(0)
	for i := range n.nodes {
		h.check(n.nodes[i])
	}
}

// acknowledged is how many operations are known to be in the log.
func (h *history) acknowledged() (count int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, op := range h.ops {
		if op.proven > 0 {
			count++
		}
	}
	return count
}

// switching is a light.Transport to nodes that come and go.
type switching struct {
	mu    sync.Mutex
	nodes local // guarded by mu
}

func newSwitching(n *network) *switching {
	s := &switching{nodes: make(local)}
	for i, c := range n.nodes {
		s.set(i, c)
	}
	return s
}

func (s *switching) set(i int, c *chain.Chain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.nodes, fmt.Sprint(i))
	if c != nil {
		s.nodes[fmt.Sprint(i)] = c
	}
}

func (s *switching) Call(ctx context.Context, peer, protocol string, req []byte) ([]byte, error) {
	s.mu.Lock()
	c := s.nodes[peer]
	s.mu.Unlock()
	return local{peer: c}.Call(ctx, peer, protocol, req)
}
