package node

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"granary/blobstore"
	"granary/cmd/granary/internal/journal"
	"granary/erasure"
	"granary/ledger"
	"granary/sampling"
)

// Shelf is what a home keeps, seen without any network: enough to list and
// show blocks while no node runs.
type Shelf struct {
	store  *blobstore.Store
	groups sampling.GroupSet // the custody groups of the home; 0: it keeps none
	scrubs *journal.Scrubs

	standIns atomic.Uint64 // further groups that it keeps because nobody owes them

	// passing says that a one-shot command has the home: it does not know what
	// the home's own node owes, a validator's share above all.
	passing bool

	// share is what a validator keeps of an announced block; nil: not known, or
	// the home is none's.
	share func(*blobstore.Block) erasure.PieceSet
}

// NewShelf shows the blocks of an open store. groups is the home's custody,
// 0 for a home that is no custodian. The caller closes the store.
func NewShelf(store *blobstore.Store, groups sampling.GroupSet) *Shelf {
	return &Shelf{store: store, groups: groups, scrubs: journal.NewScrubs(store.Dir())}
}

// Resolve turns a prefix into the one stored ID that begins with it.
func (s *Shelf) Resolve(ref Ref) (erasure.ID, error) {
	switch {
	case ref.InLedger():
		return erasure.ID{}, fmt.Errorf("%w: it needs the ledger to say which block that is; start `granary node`, or give the ID", ErrRef)
	case ref.Prefix != "":
		return s.store.Resolve(ref.Prefix)
	}
	return ref.ID, nil
}

// owed is the pieces of b that the home's custody groups owe, and those that it
// stands in for; for a passing
// command all, so that it gives up none of a block that is kept for others.
func (s *Shelf) owed(b *blobstore.Block) erasure.PieceSet {
	if s.passing {
		return erasure.AllPieces(b.Geometry().Pieces())
	}
	return sampling.Owed(b.ID(), b.Geometry(), s.groups|sampling.GroupSet(s.standIns.Load()))
}

// BlockStatus tells what a home holds of one block.
type BlockStatus struct {
	Record
	Held   int   `json:"rows_held"`
	Pieces int   `json:"pieces_held"`
	Whole  bool  `json:"whole"` // all rows held and checked clean
	Lean   bool  `json:"lean"`  // all content held and checked clean, parity dropped in part or whole
	Proof  bool  `json:"proof_known"`
	Owed   *Owed `json:"custody,omitempty"` // nil: no custodian

	Damaged int       `json:"pieces_damaged"`   // neither held nor served, to be repaired
	Checked time.Time `json:"checked,omitzero"` // when all that is held was last known to be good on the disk; zero: unknown

	Bytes   int64 `json:"bytes"`          // on disk
	NotOwed int64 `json:"bytes_not_owed"` // of these, what giving the block up frees

	AnnouncedBy string `json:"announced_by,omitempty"` // the publisher's key in hex; empty: not noted, or not announced
	Namespace   string `json:"namespace,omitempty"`    // in which it announced the block

	Kept  []Reason   `json:"kept"`            // why; empty: nobody knows any more
	Until *time.Time `json:"until,omitempty"` // when custody ends, once that is known
}

// Owed is a custodian's share of one block.
type Owed struct {
	Rows int  `json:"rows"`
	Held bool `json:"held"`
}

// Blocks returns what the home holds, by ID.
func (s *Shelf) Blocks() []BlockStatus {
	all := []BlockStatus{}
	for _, b := range s.store.Blocks() {
		all = append(all, s.blockStatus(b))
	}
	return all
}

// Block returns the stored block that ref names, and how it stands.
func (s *Shelf) Block(ref Ref) (*blobstore.Block, BlockStatus, error) {
	id, err := s.Resolve(ref)
	if err != nil {
		return nil, BlockStatus{}, err
	}
	b, err := s.store.Block(id)
	if err != nil {
		return nil, BlockStatus{}, err
	}
	return b, s.blockStatus(b), nil
}

func (s *Shelf) blockStatus(b *blobstore.Block) BlockStatus {
	held := b.Held()
	st := BlockStatus{
		Record: NewRecord(b.Bundle().Info), Held: b.Geometry().RowsIn(held), Pieces: held.Count(),
		Whole: b.Whole(), Lean: b.HasContent() && !b.Whole(), Proof: b.Bundle().Proof != nil, Kept: []Reason{},
		Damaged: b.Quarantined().Count(), Checked: b.Checked(),
		Bytes: b.Bytes(), NotOwed: s.notOwed(b),
	}
	if publisher, namespace := announcer(b); publisher != (ledger.PublicKey{}) {
		st.AnnouncedBy, st.Namespace = publisher.String(), namespace
	}
	why, until := s.reasons(b)
	if st.Kept = append(st.Kept, why...); !until.IsZero() {
		st.Until = &until
	}
	if s.groups != 0 {
		owed := s.owed(b)
		st.Owed = &Owed{Rows: b.Geometry().RowsIn(owed), Held: held.Contains(owed)}
	}
	return st
}

// Delete removes a block and all its bytes from the home.
func (s *Shelf) Delete(ctx context.Context, id erasure.ID) error {
	return s.store.Delete(ctx, id)
}
