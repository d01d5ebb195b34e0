package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"granary/blobstore"
	"granary/cmd/granary/internal/deny"
	"granary/erasure"
	"granary/ledger"
)

const (
	// denyEvery is how often the deny list is looked at.
	denyEvery = 2 * time.Second

	// denyLook is how long a verb waits for the ledger to say who announced a block: a
	// home without a node must find its providers first.
	denyLook = 15 * time.Second

	// labelLook is the same for a stored block, which is asked for again.
	labelLook = 3 * time.Second

	// noteBy is who announced the block under noteIndex: the publisher's key, and
	// after a space the namespace, if it was in one.
	noteBy = "by"
)

// deniesRecord reports whether an announced block is denied.
func (n *Node) deniesRecord(r ledger.Record) bool {
	return n.deny.List().Denies(r.ID(), r.Publisher, r.Namespace)
}

// denies reports whether a stored block is denied.
func (n *Node) denies(b *blobstore.Block) bool { return deniedBy(n.deny.List(), b) }

func deniedBy(l deny.List, b *blobstore.Block) bool {
	if !l.Announcers() { // nearly always: no note need be read
		return l.Blocks[b.ID()]
	}
	publisher, namespace := announcer(b)
	return l.Denies(b.ID(), publisher, namespace)
}

// announcer returns who announced b, as far as that is noted.
func announcer(b *blobstore.Block) (publisher ledger.PublicKey, namespace string) {
	key, namespace, _ := strings.Cut(string(b.Note(noteBy)), " ")
	if err := publisher.UnmarshalText([]byte(key)); err != nil {
		return ledger.PublicKey{}, ""
	}
	return publisher, namespace
}

// noteAnnouncer notes who announced b.
func noteAnnouncer(ctx context.Context, b *blobstore.Block, r ledger.Record) error {
	by := strings.TrimSpace(r.Publisher.String() + " " + r.Namespace)
	if r.Publisher == (ledger.PublicKey{}) || by == string(b.Note(noteBy)) {
		return nil
	}
	return b.SetNote(ctx, noteBy, []byte(by))
}

// noteBy notes who announced b, or logs why it cannot.
func (n *Node) noteBy(ctx context.Context, b *blobstore.Block, r ledger.Record) {
	if err := noteAnnouncer(ctx, b, r); err != nil {
		n.log.Warn("who announced a block is not noted", "block", b.ID().Short(), "err", err)
	}
}

// refuseDenied returns deny.ErrDenied for a block that is denied, by its ID or by who
// announced it. If the list names announcers, and the ledger cannot be asked who
// announced this block, it returns ErrOffline.
func (n *Node) refuseDenied(ctx context.Context, id erasure.ID) error {
	l := n.deny.List()
	denied := l.Blocks[id]
	if !denied && l.Announcers() {
		publisher, namespace, err := n.announcedBy(ctx, id)
		if err != nil {
			return fmt.Errorf("%w: publishers or namespaces are denied, and who announced %s is not known: %w", ErrOffline, id.Short(), err)
		}
		denied = l.Denies(id, publisher, namespace)
	}
	if denied {
		return fmt.Errorf("%w: %s", deny.ErrDenied, id)
	}
	return nil
}

// announcedBy returns who announced a block, as noted beside it or else as the ledger
// has it; nothing if nobody did.
func (n *Node) announcedBy(ctx context.Context, id erasure.ID) (ledger.PublicKey, string, error) {
	if b, err := n.store.Block(id); err == nil && b.Note(noteBy) != nil {
		publisher, namespace := announcer(b)
		return publisher, namespace, nil
	}
	ctx, cancel := context.WithTimeout(ctx, denyLook)
	defer cancel()
	for {
		found, err := n.light.Find(ctx, id)
		switch {
		case err == nil:
			return found.Record().Publisher, found.Record().Namespace, nil
		case errors.Is(err, ledger.ErrNotFound):
			return ledger.PublicKey{}, "", nil
		}
		select {
		case <-ctx.Done():
			return ledger.PublicKey{}, "", err
		case <-time.After(pollCustody):
		}
	}
}

// watchDenied puts the deny list into force whenever it changes, until ctx ends.
func (n *Node) watchDenied(ctx context.Context) {
	said := ""
	again := true // a list that was written while the node was down
	var before deny.List
	for ctx.Err() == nil {
		old, changed, err := n.deny.Reload()
		if err != nil && err.Error() != said {
			said = err.Error()
			n.log.Error("the deny list of before stays in force", "err", err)
		}
		if changed {
			before, again, said = old, true, ""
		}
		if again {
			again = n.enforce(ctx, before)
		}
		select {
		case <-ctx.Done():
		case <-time.After(denyEvery):
		}
	}
}

// enforce gives up what is denied now, and serves again what was so before. It
// returns true if somebody is still at work on a denied block, or the ledger could not
// be asked who announced one.
func (n *Node) enforce(ctx context.Context, before deny.List) (again bool) {
	l := n.deny.List()
	n.stopDenied(l)
	reached := true // the ledger, as far as it was asked
	for _, b := range n.store.Blocks() {
		if ctx.Err() != nil {
			return true
		}
		if l.Announcers() && reached {
			reached = n.label(ctx, b)
		}
		var err error
		switch denied := deniedBy(l, b); {
		case !denied && deniedBy(before, b):
			err = n.seed(b)
		case denied && n.busy(b.ID()):
			again = true
		case denied:
			err = n.giveUp(ctx, b)
		}
		if err != nil && ctx.Err() == nil {
			n.log.Warn("deny list not put into force", "block", b.ID().Short(), "err", err)
		}
	}
	return again || !reached
}

// label notes who announced a stored block, if that is not noted and somebody did. It
// returns false if the ledger could not be asked.
func (n *Node) label(ctx context.Context, b *blobstore.Block) bool {
	if b.Note(noteBy) != nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, labelLook)
	defer cancel()
	index, err := strconv.ParseUint(string(b.Note(noteIndex)), 10, 64)
	if err != nil { // not kept for an announcement
		found, err := n.light.Find(ctx, b.ID())
		if err == nil {
			err = noteAnnouncer(ctx, b, found.Record())
		}
		return err == nil || errors.Is(err, ledger.ErrNotFound)
	}
	e, err := n.light.Entry(ctx, index)
	if err == nil && e.Kind == ledger.EntryTx && e.Tx.Kind == ledger.KindAnnounce {
		err = noteAnnouncer(ctx, b, e.Tx.Record)
	}
	return err == nil
}

// giveUp stops serving a denied block, and deletes it unless the home's owner
// published or pinned it: that is for the owner to do.
func (n *Node) giveUp(ctx context.Context, b *blobstore.Block) error {
	n.stopServing(b.ID())
	if own := Reason(b.Note(noteOwn)); own == ReasonPublished || own == ReasonPinned {
		return nil
	}
	n.log.Info("block denied: removed", "block", b.ID().Short())
	return n.Remove(ctx, b.ID())
}

// stopDenied ends all work on denied announcements.
func (n *Node) stopDenied(l deny.List) {
	n.mu.Lock()
	defer n.mu.Unlock()
	denied := func(t task) bool { return l.Denies(t.record.ID(), t.record.Publisher, t.record.Namespace) }
	n.waiting = slices.DeleteFunc(n.waiting, denied)
	n.later = slices.DeleteFunc(n.later, denied)
	for id, p := range n.pending {
		if denied(p.task) {
			p.decided = true
			n.pending[id] = p
			p.stop()
		}
	}
}

// abstain notes that an announcement is not taken up because it is denied.
func (n *Node) abstain(t task) {
	if n.deny.Note(t.index) {
		n.log.Warn("announced block denied: not kept, and not attested by a validator", "block", t.record.ID().Short(), "index", t.index)
	}
}
