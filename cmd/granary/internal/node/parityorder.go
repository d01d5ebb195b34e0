package node

import (
	"context"
	"fmt"
	"time"

	"granary/blobstore"
	"granary/erasure"
)

// parityFor says for whom parity is computed. Each has a queue of its own, and
// the queues take turns: however many blocks one asks for, the others wait for
// two blocks at most before theirs.
type parityFor int

const (
	forCustody parityFor = iota // what we owe
	forRows                     // requests of /granary/row
	forReads                    // BitTorrent
	parityQueues
)

// parityOrder is a block that waits for its parity, in one queue or several.
type parityOrder struct {
	b      *blobstore.Block
	queued [parityQueues]bool // guarded by onDemand.mu
	done   chan struct{}      // closed once it was computed, or will not be
	err    error              // why not; set before done is closed
}

// order has the parity of b computed when its turn comes. A block waits once in
// a queue, however many ask for it, so a queue is no longer than the store.
func (d *onDemand) order(b *blobstore.Block, whom parityFor) *parityOrder {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.orders[b.ID()]
	if o == nil {
		o = &parityOrder{b: b, done: make(chan struct{})}
		d.orders[b.ID()] = o
	}
	if !o.queued[whom] {
		o.queued[whom] = true
		d.queues[whom] = append(d.queues[whom], o)
	}
	select {
	case d.news <- struct{}{}:
	default: // work is told already
	}
	return o
}

// next takes the order whose turn it is, nil if none waits.
func (d *onDemand) next() *parityOrder {
	d.mu.Lock()
	defer d.mu.Unlock()
	for range parityQueues {
		q := &d.queues[d.turn]
		d.turn = (d.turn + 1) % parityQueues
		for len(*q) > 0 {
			o := (*q)[0]
			if *q = (*q)[1:]; d.orders[o.b.ID()] == o { // else it has ended
				return o
			}
		}
	}
	return nil
}

// end ends an order, unless it has ended.
func (d *onDemand) end(o *parityOrder, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.orders[o.b.ID()] == o {
		delete(d.orders, o.b.ID())
		o.err = err
		close(o.done)
	}
}

// sendAway lets nobody wait for parity of a block, until it is served again.
func (d *onDemand) sendAway(id erasure.ID) {
	d.mu.Lock()
	d.away[id] = true
	o := d.orders[id]
	d.mu.Unlock()
	if o != nil {
		d.end(o, errParity)
	}
}

// serve takes sendAway back.
func (d *onDemand) serve(id erasure.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.away, id)
}

// compute makes b whole when its turn comes.
func (d *onDemand) compute(b *blobstore.Block, whom parityFor) error {
	ctx, cancel := context.WithTimeout(d.ctx, parityPatience)
	defer cancel()
	o := d.order(b, whom)
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done(): // what is ordered stays so: they ask again
		return fmt.Errorf("%w: others come first", errParity)
	}
}

// work computes what is ordered, until the context ends.
func (d *onDemand) work() {
	for d.ctx.Err() == nil {
		o := d.next()
		if o == nil {
			select {
			case <-d.news:
			case <-d.ctx.Done():
			}
			continue
		}
		select {
		case <-time.After(parityRest * d.perform(o)):
		case <-d.ctx.Done():
		}
	}
}

// perform makes the block of an order whole, ends the order, and returns how
// long it took.
func (d *onDemand) perform(o *parityOrder) (took time.Duration) {
	took, err := d.code(o.b)
	if err != nil {
		err = fmt.Errorf("%w: %w", errParity, err)
	}
	d.end(o, err)
	return took
}

// code makes b whole.
func (d *onDemand) code(b *blobstore.Block) (took time.Duration, err error) {
	if b.Whole() {
		return 0, nil
	}
	if !b.HasContent() {
		return 0, fmt.Errorf("%s was deleted, or damaged, meanwhile", b.ID().Short())
	}
	if err = d.bound(d.ctx, b); err == nil {
		d.coding.Lock()
		began := time.Now()
		err = b.Complete(d.ctx, nil)
		took = time.Since(began)
		d.coding.Unlock()
	}
	d.mu.Lock()
	if err == nil {
		d.computed++
		d.took += took
		d.since[b.ID()] = time.Now()
	} else if d.ctx.Err() == nil {
		d.refused[b.ID()] = time.Now().Add(parityRetry)
	}
	d.mu.Unlock()
	if err != nil {
		d.log.Warn("parity not computed", "block", b.ID().Short(), "err", err)
		return took, err
	}
	d.log.Info("parity computed", "block", b.ID().Short(), "dur", took)
	return took, nil
}
