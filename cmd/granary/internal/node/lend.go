package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"granary/blobstore"
	"granary/cmd/granary/internal/durable"
	"granary/erasure"
)

const (
	// lendFile, in the home, says how many bytes of disk its owner lends.
	lendFile = "lend"

	// A round of lending looks at so many blocks, at random, and fetches so many
	// pieces of one: each block costs a greeting of everyone who may hold it.
	lendEvery  = 10 * time.Minute
	lendBlocks = 16
	lendPieces = 64

	// enoughHolders is from how many other holders on a piece needs no help.
	enoughHolders = 8
)

// ErrNoCustody reports that a node that keeps no custody was asked to lend: it
// does not know of any block.
var ErrNoCustody = errors.New("only a node of role seeder lends disk to what others need")

// Lent is disk that a home lends beyond its custody, to the pieces that fewest
// others hold.
type Lent struct {
	Cap    int64 `json:"cap"`    // bytes; 0: none
	Bytes  int64 `json:"bytes"`  // used now
	Pieces int   `json:"pieces"` // kept that way
}

// Lend sets how many bytes of disk are lent, also over restarts; 0 ends it, and
// the pieces held that way are dropped.
func (n *Node) Lend(bytes int64) error {
	if !n.cfg.Custodian && bytes > 0 {
		return ErrNoCustody
	}
	if err := RememberLend(n.cfg.Dir, bytes); err != nil {
		return err
	}
	select {
	case n.lend <- struct{}{}:
	default:
	}
	return nil
}

// RememberLend sets how many bytes the next node of a home lends.
func RememberLend(dir string, bytes int64) error {
	if err := durable.Write(filepath.Join(dir, lendFile), fmt.Appendln(nil, bytes), 0o644); err != nil {
		return fmt.Errorf("remember what is lent: %w", err)
	}
	return nil
}

// lendCap reads what RememberLend wrote.
func (n *Node) lendCap() int64 {
	raw, err := durable.Read(filepath.Join(n.cfg.Dir, lendFile), maxNumber)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	var bytes int64
	if err == nil {
		bytes, err = strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	}
	if err != nil || bytes < 0 {
		n.log.Warn("what is lent cannot be read: nothing is", "err", err)
		return 0
	}
	return bytes
}

// Lent tells what is lent and what of it is used.
func (n *Node) Lent() Lent {
	l := Lent{Cap: n.lendCap()}
	for _, b := range n.lendable() {
		extra := n.beyond(b)
		l.Pieces += extra.Count()
		l.Bytes += int64(b.Geometry().RowsIn(extra)) * erasure.RowSize
	}
	return l
}

// lendable is the blocks of which only a share is kept.
func (n *Node) lendable() []*blobstore.Block {
	return slices.DeleteFunc(n.store.Blocks(), func(b *blobstore.Block) bool {
		return n.parity != nil && b.HasContent() || !n.onlyOwed(b) || !b.Held().Contains(n.owed(b))
	})
}

// beyond is the pieces of b held beyond our share.
func (n *Node) beyond(b *blobstore.Block) erasure.PieceSet {
	extra := b.Held()
	for p := range n.owed(b).All() {
		extra.Remove(p)
	}
	return extra
}

// lendDisk looks for pieces in need, now and then, until ctx ends.
func (n *Node) lendDisk(ctx context.Context) {
	every := lendEvery
	if n.cfg.Devnet {
		every = 2 * time.Second
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.lend:
		case <-time.After(every):
		}
		round, stop := context.WithCancel(ctx)
		n.mu.Lock()
		n.stopLending = stop
		n.mu.Unlock()
		if err := n.lendRound(round); err != nil && round.Err() == nil {
			n.log.Warn("no piece was taken in", "err", err)
		}
		stop()
	}
}

func (n *Node) lendRound(ctx context.Context) error {
	lent := n.Lent()
	room := lent.Cap - lent.Bytes
	if lent.Bytes > 0 && (room < 0 || n.tight()) {
		return n.giveBack(ctx)
	}
	if room <= 0 || n.tight() || !n.Seeding().On {
		return nil
	}
	for _, b := range n.mayHelp() {
		want := needy(b.Geometry(), b.Held(), n.countHolders(ctx, b), room)
		if want.Count() == 0 {
			continue
		}
		room -= int64(b.Geometry().RowsIn(want)) * erasure.RowSize
		if err := n.takeIn(ctx, b, want); err != nil {
			return fmt.Errorf("take in %d pieces of %s: %w", want.Count(), b.ID().Short(), err)
		}
	}
	return nil
}

// mayHelp is blocks of which a round looks for pieces in need: none that is denied,
// though it is still here.
func (n *Node) mayHelp() []*blobstore.Block {
	blocks := slices.DeleteFunc(n.lendable(), n.denies)
	rand.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
	return blocks[:min(len(blocks), lendBlocks)]
}

// tight reports whether the quota is nearly reached: what is owed goes first.
func (n *Node) tight() bool {
	if n.cfg.Quota == 0 {
		return false
	}
	free, err := n.store.Free()
	return err != nil || free < n.cfg.Quota/10
}

// giveBack drops everything that is held beyond custody.
func (n *Node) giveBack(ctx context.Context) error {
	for _, b := range n.lendable() {
		err := n.unlessHeld(b.ID(), func() error {
			if !n.onlyOwed(b) {
				return nil // no more: the others took a while
			}
			return n.cut(ctx, b, n.owed(b))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// needy chooses pieces to take in, within room bytes: of those that somebody
// else holds, what fewest do; ties differ from node to node. What nobody holds
// takes k rows to rebuild: that is for those who owe it, and comes into need
// again when one of them has it.
func needy(g erasure.Geometry, held erasure.PieceSet, count []int, room int64) erasure.PieceSet {
	pieces := rand.Perm(g.Pieces())
	slices.SortStableFunc(pieces, func(x, y int) int { return cmp.Compare(count[x], count[y]) })
	want := erasure.NewPieceSet(g.Pieces())
	for _, p := range pieces {
		_, rows := g.PieceSpan(p)
		size := int64(rows) * erasure.RowSize
		if held.Has(p) || count[p] == 0 || count[p] >= enoughHolders || size > room || want.Count() == lendPieces {
			continue
		}
		want.Add(p)
		room -= size
	}
	return want
}

// countHolders asks those who may hold b, and counts the holders of each piece.
func (n *Node) countHolders(ctx context.Context, b *blobstore.Block) []int {
	count := make([]int, b.Geometry().Pieces())
	for found := range n.host.FindHolders(ctx, b.ID()) {
		hello, err := n.host.Hello(ctx, found.Peer, b.ID())
		if err != nil {
			continue
		}
		has, err := erasure.ParsePieceSet(len(count), hello.Held)
		if err != nil {
			continue
		}
		for p := range has.All() {
			count[p]++
		}
	}
	return count
}

// takeIn fetches pieces of b.
func (n *Node) takeIn(ctx context.Context, b *blobstore.Block, want erasure.PieceSet) error {
	t, err := n.swarm.Add(n.face(b))
	if err != nil {
		return err
	}
	defer n.supply(ctx, t, b.ID(), supplies{first: n.keepers()})()
	ctx, cancel := n.patient(ctx, b, defaultPatience)
	defer cancel()
	if err := t.Fetch(ctx, want); err != nil {
		return fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	n.log.Info("pieces in need taken in", "block", b.ID().Short(), "pieces", want.Count())
	return n.seed(b)
}
