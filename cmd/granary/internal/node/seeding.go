package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"granary/blobstore"
	"granary/cmd/granary/internal/durable"
	"granary/cmd/granary/internal/traffic"
	"granary/erasure"
)

// ErrDuty reports that a validator was told not to work for others.
var ErrDuty = errors.New("a validator owes the network its work: stop the node instead")

// offFile, in the home, is there while its owner wants it not to seed.
const offFile = "seeding-off"

// lookAtClock is how often the hours are compared with the clock.
const lookAtClock = 5 * time.Second

// Hours says at which times a node works for others.
type Hours interface {
	Open(time.Time) bool
	String() string // as people write it; "": always
}

// Seeding says whether a node works for others: serves rows, fetches its
// custody, and has itself found in the DHT. What its owner asks for himself is
// done in any case.
type Seeding struct {
	On    bool   `json:"on"`
	Why   string `json:"why,omitempty"` // why not: "off", "hours", "volume" or "error"
	Err   string `json:"error,omitempty"`
	Hours string `json:"hours,omitempty"`
}

// Seeding tells whether the node works for others now.
func (n *Node) Seeding() Seeding {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := Seeding{On: n.idle == "", Why: n.idle}
	if n.idleErr != nil && n.idle == idleError {
		s.Err = n.idleErr.Error()
	}
	if n.cfg.Hours != nil {
		s.Hours = n.cfg.Hours.String()
	}
	return s
}

// Seed turns working for others on or off, until it is told otherwise: also
// over restarts.
func (n *Node) Seed(on bool) error {
	if n.cfg.Validator != nil && !on {
		return ErrDuty
	}
	if err := RememberSeeding(n.cfg.Dir, on); err != nil {
		return err
	}
	n.reconsider()
	return nil
}

// RememberSeeding turns working for others on or off for the next node of a
// home.
func RememberSeeding(dir string, on bool) error {
	path := filepath.Join(dir, offFile)
	var err error
	if on {
		if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	} else {
		err = durable.Write(path, nil, 0o644)
	}
	if err != nil {
		return fmt.Errorf("remember seeding: %w", err)
	}
	return nil
}

// watchClock turns working for others on and off by the hours and the month's
// volume, and keeps bans, until ctx ends.
func (n *Node) watchClock(ctx context.Context) {
	tick := time.NewTicker(lookAtClock)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
		case <-tick.C:
			n.reconsider()
		}
		if err := n.bans.Keep(n.swarm.Banned(), time.Now()); err != nil {
			n.log.Warn("bans not kept", "err", err)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// reconsider compares what the node does for others with what it should.
func (n *Node) reconsider() {
	n.switching.Lock()
	defer n.switching.Unlock()
	why, err := n.whyIdle()
	n.mu.Lock()
	was := n.idle
	n.idle, n.idleErr = why, err
	if why != "" && was == "" {
		for _, p := range n.pending {
			p.stop() // perform puts the task back
		}
		if n.stopLending != nil {
			n.stopLending()
		}
	}
	n.mu.Unlock()
	if (why == "") == (was == "") {
		return
	}
	n.log.Info("seeding switched", "on", why == "", "why", why, "err", err)
	n.swarm.Serve(why == "")
	if err := n.host.ShowCustody(why == ""); err != nil {
		n.log.Warn("custody not shown or hidden", "err", err)
	}
	for _, b := range n.store.Blocks() {
		n.provide(b)
	}
	n.launch()
}

// idleError is why a node is idle that cannot find out whether it should be.
const idleError = "error"

// whyIdle is why the node should not work for others: "" if it should. What
// cannot be found out is taken for a no.
func (n *Node) whyIdle() (why string, err error) {
	if n.cfg.Validator != nil {
		return "", nil
	}
	_, err = os.Stat(filepath.Join(n.cfg.Dir, offFile))
	spent := n.traffic.Spent()
	switch {
	case err == nil:
		return "off", nil
	case !errors.Is(err, fs.ErrNotExist):
		return idleError, err
	case n.cfg.Hours != nil && !n.cfg.Hours.Open(time.Now()):
		return "hours", nil
	case errors.Is(spent, traffic.ErrVolume):
		return "volume", nil
	case spent != nil:
		return idleError, spent
	}
	return "", nil
}

// provide names us in the DHT as a holder of the whole block b, if we are one
// who serves; else it takes that back.
func (n *Node) provide(b *blobstore.Block) {
	switch {
	case !n.serves(b.ID()):
		n.host.StopProvidingBlock(b.ID())
	case !n.cfg.Guest && n.holdsAll(b) || n.cfg.Faults.Corrupt:
		n.host.ProvideBlock(b.ID())
	}
}

// serves reports whether others are served rows of a block.
func (n *Node) serves(id erasure.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.idle == "" || n.anyway[id] > 0
}

// serveAnyway serves a block until done is called, whatever the hours say: its
// owner published it just now, and others must fetch it from here.
func (n *Node) serveAnyway(b *blobstore.Block) (done func(), err error) {
	t, err := n.swarm.Add(n.face(b))
	if err != nil {
		return nil, err
	}
	add := func(by int) {
		n.mu.Lock()
		if n.anyway[b.ID()] += by; n.anyway[b.ID()] == 0 {
			delete(n.anyway, b.ID())
		}
		n.mu.Unlock()
		n.provide(b)
	}
	add(1)
	stop := t.ServeAnyway()
	return func() { stop(); add(-1) }, nil
}
