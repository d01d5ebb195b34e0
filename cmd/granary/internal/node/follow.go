package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/cmd/granary/internal/durable"
	"granary/erasure"
	"granary/ledger"
	"granary/sampling/kad"
)

const (
	// entriesAtOnce is how many log entries are asked for at a time.
	entriesAtOnce = 64

	// tidyEvery is how often blocks whose keep has ended are looked for.
	tidyEvery = time.Minute
)

// follow reads the log as it grows, until ctx ends. News come by gossip, as
// light blocks that verify themselves, or from our own chain; without any it
// looks once per heartbeat.
func (n *Node) follow(ctx context.Context) {
	next := n.loadCursor()
	tidied := time.Now()
	for ctx.Err() == nil {
		n.launch()
		var err error
		if next, err = n.catchUp(ctx, next); err != nil && ctx.Err() == nil {
			n.log.Debug("ledger not read", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-n.news:
		case <-time.After(n.cfg.Genesis.Params.Heartbeat):
		}
		if time.Since(tidied) > tidyEvery {
			tidied = time.Now()
			n.dropEnded(ctx)
		}
	}
}

// catchUp handles the entries from number next on and returns where to go on.
func (n *Node) catchUp(ctx context.Context, next uint64) (uint64, error) {
	st, err := n.light.Update(ctx)
	n.setLedger(st, err)
	n.meet(ctx, st.Head.Size)
	if n.chain == nil && !n.cfg.Custodian {
		return st.Head.Size, err // owes nothing to anyone
	}
	for next < st.Head.Size && ctx.Err() == nil {
		entries, err := n.light.Entries(ctx, next, entriesAtOnce)
		if err != nil {
			return next, err
		}
		for _, e := range entries {
			if !n.handle(next, e) {
				return next, nil // too much to do: later
			}
			next++
		}
		n.saveCursor(next)
	}
	if n.chain != nil {
		err = errors.Join(err, n.takeUpPending())
	}
	return next, err
}

// handle takes up what an entry of the log means for this node; false means
// not now. It may see an entry again after a restart.
func (n *Node) handle(index uint64, e ledger.Entry) bool {
	switch e.Kind {
	case ledger.EntryTx:
		// Nobody owes a block any more whose days are over.
		r := e.Tx.Record
		t := task{index: index, record: r}
		t.until = e.Time.Add(t.keep())
		if e.Tx.Kind == ledger.KindAnnounce && !n.headTime().After(t.until) && n.concerned(index) {
			return n.take(t)
		}
	case ledger.EntryCertified:
		n.log.Info("block certified", "block", e.Outcome.ID.Short(), "height", e.Height)
		n.certified(e.Outcome.ID)
	case ledger.EntryExpired:
		n.log.Info("block expired", "block", e.Outcome.ID.Short(), "height", e.Height)
		n.expired(e.Outcome)
	}
	return true
}

// headTime is the time of the verified head, zero before there is one. Our own
// clock, if it is wrong, must not make us pass over what we owe.
func (n *Node) headTime() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ledger.Time
}

// concerned reports whether an announcement is ours to take up: a custodian's
// always, a validator's if it was one at that moment.
func (n *Node) concerned(index uint64) bool {
	if n.chain == nil {
		return true
	}
	seat, _ := n.seat(index)
	return seat >= 0
}

// expired drops a block that was never certified, unless it is ours or was
// asked for.
func (n *Node) expired(o ledger.Outcome) {
	n.forget(o.Announcement)
	b, err := n.store.Block(o.ID)
	if err != nil || b.Note(noteOwn) != nil || string(b.Note(noteIndex)) != strconv.FormatUint(o.Announcement, 10) {
		return
	}
	n.background(func(ctx context.Context) {
		if err := n.Remove(ctx, o.ID); err != nil {
			n.log.Warn("expired block not removed", "block", o.ID.Short(), "err", err)
		}
	})
}

// certified lets a validator keep only its share of a block from now on.
func (n *Node) certified(id erasure.ID) {
	b, err := n.store.Block(id)
	if err != nil || n.chain == nil || b.Note(noteOwn) != nil {
		return
	}
	n.background(func(ctx context.Context) {
		if err := n.cut(ctx, b, n.validatorShare(b)); err != nil {
			n.log.Warn("share not cut", "block", id.Short(), "err", err)
		}
	})
}

// nudge makes follow look now.
func (n *Node) nudge() {
	select {
	case n.news <- struct{}{}:
	default:
	}
}

// judgeHead decides which gossiped light blocks are relayed: those that
// verify from what we trust. What we cannot judge is neither relayed nor held
// against anyone.
func (n *Node) judgeHead(msg []byte) kad.Judgement {
	n.mu.Lock()
	own := bytes.Equal(msg, n.own)
	n.mu.Unlock()
	if own {
		return kad.Accept
	}
	ctx, cancel := context.WithTimeout(n.ctx, time.Second)
	defer cancel()
	newer, err := n.light.Offer(ctx, msg)
	switch {
	case errors.Is(err, ledger.ErrMalformed):
		return kad.Reject
	case err != nil || !newer:
		return kad.Ignore
	}
	return kad.Accept
}

// heardHead looks at the log when somebody else has a newer head.
func (n *Node) heardHead(_ peer.ID, msg []byte) {
	n.log.Debug("head heard", "head", fingerprint(msg))
	n.nudge()
}

// fingerprint tells announcements apart in logs.
func fingerprint(msg []byte) string {
	sum := sha256.Sum256(msg)
	return hex.EncodeToString(sum[:8])
}

// proclaim gossips every new head of our own chain.
func (n *Node) proclaim(ctx context.Context) {
	var height int64
	for ctx.Err() == nil {
		u, err := n.chain.Wait(ctx, height, ^uint64(0))
		if err != nil {
			if ctx.Err() == nil {
				n.log.Error("the chain ended", "err", err)
			}
			return
		}
		height = u.Height
		raw, err := n.chain.LightBlock(0)
		if err == nil {
			n.mu.Lock()
			n.own = raw
			n.mu.Unlock()
			n.log.Debug("head announced", "height", height, "head", fingerprint(raw))
			err = n.host.Announce(ctx, raw)
		}
		n.nudge()
		if err != nil && ctx.Err() == nil {
			n.log.Debug("head not announced", "height", height, "err", err)
		}
	}
}

// The cursor is the number of the first log entry that may still need work
// after a restart: of the oldest announcement that is being taken up, else
// the next one.
func (n *Node) cursorPath() string { return filepath.Join(n.cfg.Dir, "ledger", "cursor") }

func (n *Node) loadCursor() uint64 {
	raw, err := durable.Read(n.cursorPath(), maxNumber)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	next, perr := strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 64)
	if err = errors.Join(err, perr); err != nil {
		n.log.Warn("cursor not read, starting at the beginning of the log", "err", err)
		return 0
	}
	return next
}

func (n *Node) saveCursor(next uint64) {
	n.mu.Lock()
	for _, p := range n.pending {
		next = min(next, p.index)
	}
	for _, t := range slices.Concat(n.waiting, n.later) {
		next = min(next, t.index)
	}
	n.mu.Unlock()
	if err := durable.Write(n.cursorPath(), fmt.Appendln(nil, next), 0o644); err != nil {
		n.log.Warn("cursor not written", "err", err)
	}
}
