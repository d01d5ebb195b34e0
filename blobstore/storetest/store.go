package storetest

import (
	"context"
	"io"
	"testing"

	"granary/erasure"
)

// A Store keeps blocks; B is what it keeps them as.
type Store[B Block] interface {
	Put(ctx context.Context, b erasure.Bundle) (B, error)
	Import(ctx context.Context, name string, r io.Reader, progress erasure.Progress) (B, error)
	Block(id erasure.ID) (B, error)
	Blocks() []B
	Delete(ctx context.Context, id erasure.ID) error
	Free() (int64, error) // bytes that the quota still has
	Close() error
}

// A Block is a stored block.
type Block interface {
	ID() erasure.ID
	Geometry() erasure.Geometry
	Bundle() erasure.Bundle

	Held() erasure.PieceSet
	Has(piece int) bool
	Rows() int
	Whole() bool
	Bytes() int64

	ReadPieceAt(piece int, p []byte, off int64) (int, error)
	WritePieceAt(piece int, p []byte, off int64) (int, error)
	CommitPiece(ctx context.Context, piece int) error
	DropPieces(ctx context.Context, drop erasure.PieceSet) error

	Row(row int) ([]byte, []erasure.Root, error)
	AddRow(ctx context.Context, row int, data []byte, path []erasure.Root) error
	RowsAtHand() int

	Complete(ctx context.Context, progress erasure.Progress) error
	Content() *io.SectionReader

	Note(key string) []byte
	SetNote(ctx context.Context, key string, value []byte) error
}

// Run runs the contract. open opens the store that lives at place, which is an
// empty folder at first: a store elsewhere can name itself after it. quota bounds
// what it takes in bytes, 0 does not. The suite closes what it opened before it
// opens the same place again.
func Run[S Store[B], B Block](t *testing.T, open func(ctx context.Context, place string, quota int64) (S, error)) {
	su := suite[S, B]{opener: open}
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"ImportedBlockReadsBackAfterRestart", su.importedBlockReadsBackAfterRestart},
		{"ImportRefuses", su.importRefuses},
		{"ImportCompletesAPartialBlock", su.importCompletesAPartialBlock},
		{"PutLearnsTheProof", su.putLearnsTheProof},
		{"PutRefusesBadBundles", su.putRefusesBadBundles},
		{"SecondOpenerIsLockedOut", su.secondOpenerIsLockedOut},
		{"CommitRefusesWhatDoesNotVerify", su.commitRefusesWhatDoesNotVerify},
		{"HeldPieceIsImmutable", su.heldPieceIsImmutable},
		{"ReadsStayWithinWrittenPieces", su.readsStayWithinWrittenPieces},
		{"ManyCommitAtOnce", su.manyCommitAtOnce},
		{"UncommittedBytesAreForgottenAtARestart", su.uncommittedBytesAreForgotten},
		{"ScatteredRowsMakeABlockWhole", su.scatteredRowsMakeABlockWhole},
		{"LooseRowsAreForgottenAtARestart", su.looseRowsAreForgottenAtARestart},
		{"LooseRowsOutlastALiar", su.looseRowsOutlastALiar},
		{"WrongRowsAreRefused", su.wrongRowsAreRefused},
		{"DroppedPiecesLoseTheirLooseRows", su.droppedPiecesLoseTheirLooseRows},
		{"DroppedPiecesGiveTheirRoomBack", su.droppedPiecesGiveTheirRoomBack},
		{"CompleteMakesWholeFromAnyHalf", su.completeMakesWholeFromAnyHalf},
		{"PublishersLieIsToldFromAPeers", su.publishersLieIsToldFromAPeers},
		{"UncleanBlockIsRefused", su.uncleanBlockIsRefused},
		{"DeleteRemovesBlockAndNotes", su.deleteRemovesBlockAndNotes},
		{"NotesAreBounded", su.notesAreBounded},
		{"QuotaRefusesBeforeItIsPassed", su.quotaRefusesBeforeItIsPassed},
		{"GoodbyeEndsEverything", su.goodbyeEndsEverything},
	} {
		t.Run(test.name, test.run)
	}
}

// suite is one run of the contract.
type suite[S Store[B], B Block] struct {
	opener func(ctx context.Context, place string, quota int64) (S, error)
}

func (su suite[S, B]) open(t *testing.T, place string, quota int64) S {
	t.Helper()
	s, err := su.opener(t.Context(), place, quota)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (su suite[S, B]) put(t *testing.T, s S, b erasure.Bundle) B {
	t.Helper()
	block, err := s.Put(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return block
}
