package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"granary/cmd/granary/internal/durable"
	"granary/sampling"
)

const (
	// standInFile, in the home, says which groups it keeps beside its own: else
	// what it holds of them would be given back after a restart, before it is known
	// again that nobody else owes it.
	standInFile = "stand-ins"

	// standInEvery is how often a custodian looks which groups nobody owes.
	standInEvery = time.Minute
)

// loadStandIns reads which groups the home stood in for.
func (n *Node) loadStandIns() {
	raw, err := durable.Read(filepath.Join(n.cfg.Dir, standInFile), maxNumber)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	groups, perr := strconv.ParseUint(strings.TrimSpace(string(raw)), 16, 64)
	if err = errors.Join(err, perr); err != nil {
		n.log.Warn("groups that this home stands in for are forgotten", "err", err)
		return // a number that is too large reads as all groups
	}
	n.standIns.Store(groups)
}

// standIn keeps the pieces of groups that nobody owes and that it is ours to
// stand in for, until ctx ends. When somebody owes them again, what is here goes
// with the next round of lending, as all that is held beyond our share.
func (n *Node) standIn(ctx context.Context) {
	for {
		if groups, known := n.host.StandIns(); known {
			n.standFor(groups)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(standInEvery):
		}
	}
}

func (n *Node) standFor(groups sampling.GroupSet) {
	if n.tight() {
		groups &= sampling.GroupSet(n.standIns.Load()) // no more than now
	}
	if was := n.standIns.Swap(uint64(groups)); was != uint64(groups) {
		n.log.Info("standing in for groups that nobody owes", "groups", groupList(groups))
		if err := durable.Write(filepath.Join(n.cfg.Dir, standInFile), fmt.Appendf(nil, "%016x\n", groups), 0o644); err != nil {
			n.log.Warn("groups that this home stands in for not written", "err", err)
		}
	}
	if groups == 0 {
		return
	}
	for _, b := range n.store.Blocks() {
		if b.Note(noteIndex) != nil && !n.denies(b) {
			n.keepShare(b)
		}
	}
}
