package node

import (
	"context"
	"fmt"
	"time"

	"granary/blobstore"
	"granary/erasure"
)

const (
	// parityOrders is how many blocks may wait for their parity, for whoever
	// asks; those who wait in BitTorrent reads get half of the places, so that
	// they leave some to /granary/row and to custody.
	parityOrders     = 16
	parityReadOrders = parityOrders / 2

	// parityLook is how often a read that found no place looks for one.
	parityLook = time.Second
)

// parityOrder is a block that waits for its parity.
type parityOrder struct {
	b    *blobstore.Block
	done chan struct{} // closed once it was computed, or will not be
	err  error         // why not; set before done is closed
}

// order has the parity of b computed after that of the blocks ordered before.
// It returns nil if as many as most wait already. A block is ordered once.
func (d *onDemand) order(b *blobstore.Block, most int) *parityOrder {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.orders[b.ID()]
	if o == nil && len(d.queue) < most {
		o = &parityOrder{b: b, done: make(chan struct{})}
		d.orders[b.ID()] = o
		d.queue <- o // has room for parityOrders, and only we send
	}
	return o
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

// compute makes b whole when its turn comes, if fewer than most wait for theirs.
func (d *onDemand) compute(b *blobstore.Block, most int) error {
	ctx, cancel := context.WithTimeout(d.ctx, parityPatience)
	defer cancel()
	o := d.order(b, most)
	for ; o == nil; o = d.order(b, most) {
		select {
		case <-time.After(parityLook):
		case <-ctx.Done():
			return fmt.Errorf("%w: others come first", errParity)
		}
		if d.refuses(b.ID()) {
			return errParity
		}
	}
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done(): // what is ordered stays so: they ask again
		return fmt.Errorf("%w: others come first", errParity)
	}
}

// work computes what is ordered, until the context ends.
func (d *onDemand) work() {
	for {
		select {
		case o := <-d.queue:
			took, err := d.perform(o)
			d.end(o, err)
			select {
			case <-time.After(parityRest * took):
			case <-d.ctx.Done():
				return
			}
		case <-d.ctx.Done():
			return
		}
	}
}

// perform makes the block of an order whole.
func (d *onDemand) perform(o *parityOrder) (took time.Duration, err error) {
	d.mu.Lock()
	stands := d.orders[o.b.ID()] == o
	d.mu.Unlock()
	if !stands || o.b.Whole() {
		return 0, nil
	}
	if !o.b.HasContent() { // deleted, or damaged meanwhile
		return 0, errParity
	}
	d.coding.Lock()
	began := time.Now()
	err = o.b.Complete(d.ctx, nil)
	took = time.Since(began)
	d.coding.Unlock()
	id := o.b.ID()
	d.mu.Lock()
	if err == nil {
		d.computed++
		d.took += took
		d.since[id] = time.Now()
	} else if d.ctx.Err() == nil {
		d.refused[id] = time.Now().Add(parityRetry)
	}
	d.mu.Unlock()
	if err != nil {
		d.log.Warn("parity not computed", "block", id.Short(), "err", err)
		return took, fmt.Errorf("%w: %w", errParity, err)
	}
	d.log.Info("parity computed", "block", id.Short(), "dur", took)
	return took, nil
}
