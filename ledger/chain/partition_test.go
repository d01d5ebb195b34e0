package chain_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"granary/erasure"
	"granary/ledger"
)

// wires carry what nodes say to each other, so that a test can keep it from some.
type wires struct {
	t    testing.TB
	work sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	side    map[int]int // guarded by mu: nodes of different sides do not hear each other
	deaf    bool        // guarded by mu: what is said across is kept back, and nobody is told; else lines are cut
	closed  bool        // guarded by mu
	lines   []*line     // guarded by mu
	ports   []net.Listener
}

// line is a connection from one node to another: both its ends.
type line struct {
	from, to int
	ends     [2]net.Conn
}

func newWires(t testing.TB) *wires {
	w := &wires{t: t, side: make(map[int]int)}
	w.changed = sync.NewCond(&w.mu)
	t.Cleanup(w.close)
	return w
}

// lay returns an address that leads from one node to another's.
func (w *wires) lay(from, to int, address string) string {
	w.t.Helper()
	l, err := net.Listen("tcp", loopback().String()+":0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.ports = append(w.ports, l)
	w.work.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			w.connect(&line{from: from, to: to, ends: [2]net.Conn{near, nil}}, address)
		}
	})
	return l.Addr().String()
}

func (w *wires) connect(l *line, address string) {
	far, err := net.Dial("tcp", address)
	if err != nil {
		l.ends[0].Close()
		return
	}
	l.ends[1] = far
	w.mu.Lock()
	w.lines = append(w.lines, l)
	refused := w.closed || w.apart(l) && !w.deaf
	w.mu.Unlock()
	if refused {
		l.close()
		return
	}
	for i := range l.ends {
		w.work.Go(func() { w.carry(l, l.ends[i], l.ends[1-i]) })
	}
}

// carry copies one direction of a line, and waits while its ends are apart: as
// packets that are dropped are sent again.
func (w *wires) carry(l *line, from io.Reader, to io.Writer) {
	defer l.close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		for w.apart(l) && w.deaf && !w.closed {
			w.changed.Wait()
		}
		w.mu.Unlock()
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// apart must be called with mu held.
func (w *wires) apart(l *line) bool { return w.side[l.from] != w.side[l.to] }

func (l *line) close() {
	for _, c := range l.ends {
		c.Close()
	}
}

// split puts some nodes on the other side: silently, or by cutting lines.
func (w *wires) split(silently bool, others ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.side)
	for _, i := range others {
		w.side[i] = 1
	}
	w.deaf = silently
	for _, l := range w.lines {
		if w.apart(l) && !silently {
			l.close()
		}
	}
	w.changed.Broadcast()
}

// heal puts all on one side.
func (w *wires) heal() { w.split(true) }

func (w *wires) close() {
	w.mu.Lock()
	w.closed = true
	for _, l := range w.lines {
		l.close()
	}
	w.changed.Broadcast()
	w.mu.Unlock()
	for _, l := range w.ports {
		l.Close()
	}
	w.work.Wait()
}

// newWiredNetwork is newNetwork with wires between the nodes.
func newWiredNetwork(t testing.TB, validators int, heartbeat time.Duration) (*network, *wires) {
	w := newWires(t)
	n := foundNetwork(t, validators, 0, heartbeat)
	n.route = make(map[[2]int]string)
	for i := range validators {
		for j := range validators {
			if i != j {
				n.route[[2]int{i, j}] = w.lay(i, j, fmt.Sprintf("%s:%d", n.ip, n.ports[j]))
			}
		}
	}
	for i := range validators {
		n.start(i)
	}
	return n, w
}

// knows says whether node i has an announcement of a block.
func (n *network) knows(i int, id erasure.ID) (known bool) {
	n.t.Helper()
	err := n.nodes[i].View(func(s *ledger.State) {
		_, err := s.Block(id)
		known = err == nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return known
}

func (n *network) certify(who string, nonce uint64, through int, validators ...int) {
	n.t.Helper()
	r := record(fmt.Sprint(who, nonce))
	index := n.announce(through, who, nonce, r)
	for _, v := range validators {
		n.attest(v, v, n.nonce(v, v), index, r.ID())
	}
	n.entry(through, index, ledger.EntryCertified)
}

// TestPartitionHeals divides four validators in two halves, which then decide
// nothing, and puts them together; then one from three, which go on without it.
func TestPartitionHeals(t *testing.T) {
	t.Parallel() // most of it is waiting
	n, w := newWiredNetwork(t, 4, time.Second)
	n.certify("alice", 1, 0, 0, 1, 2)

	w.split(true, 2, 3)
	said := map[int]ledger.Record{0: record("left"), 2: record("right")}
	for i, r := range said {
		raw, err := ledger.SignAnnounce(n.genesis.ChainID, key("publisher at %d", i), 1, r)
		if err != nil {
			t.Fatal(err)
		}
		n.submit(i, raw)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*n.genesis.Params.Heartbeat)
	_, _ = n.nodes[0].Wait(ctx, 1<<40, 1<<40) // nothing comes that far: it waits
	cancel()
	for i := range n.nodes {
		for from, r := range said {
			if n.knows(i, r.ID()) {
				t.Errorf("half of the power decided at node %d what node %d was told", i, from)
			}
		}
	}
	w.heal()
	for i := range n.nodes {
		for _, r := range said {
			n.announced(i, 0, r.ID())
		}
	}
	n.sameHead(0)

	w.split(false, 3)
	n.certify("alice", 2, 0, 0, 1, 2)
	if n.knows(3, record("alice2").ID()) {
		t.Error("news came across a cut")
	}
	w.heal()
	n.sameHead(0)
	n.certify("alice", 3, 3, 0, 1, 3) // the one that was away has a say again
	n.sameHead(3)
}
