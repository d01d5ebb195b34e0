package blobstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"syscall"

	"granary/erasure"
)

// What callers branch on.
var (
	ErrLocked    = errors.New("store is in use by another process")
	ErrClosed    = errors.New("store is closed")
	ErrSchema    = errors.New("store was written by a newer version")
	ErrFailed    = errors.New("index could not be written: open the store again")
	ErrNotFound  = errors.New("no such block in the store")
	ErrAmbiguous = errors.New("more than one block has this prefix")
	ErrDamaged   = errors.New("stored block is damaged") // Put its bundle again to mend it
	ErrAbsent    = errors.New("the index lists blocks, and none of them is in the folder of blocks")
	ErrNotHeld   = errors.New("piece is not held")
	ErrHeld      = errors.New("piece is held and immutable") // safe to ignore
	ErrPiece     = errors.New("no such piece, row or range in the block")
	ErrQuota     = errors.New("quota reached")
	ErrDiskFull  = errors.New("disk is full")
	ErrNote      = errors.New("note key or value too long")
)

// QuotaError says how much was asked of the quota. It wraps ErrQuota.
type QuotaError struct {
	Need int64 // bytes that had to be reserved
	Free int64 // bytes that the quota still has; may be negative after it was lowered
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("quota reached: %d bytes needed, %d free", e.Need, e.Free)
}

func (e *QuotaError) Unwrap() error { return ErrQuota }

// PieceError reports a piece whose bytes do not verify. From CommitPiece, the
// peers that sent it are faulty and nothing was kept. From Row and Complete,
// the disk changed what was stored: the piece is no longer held.
type PieceError struct {
	Piece int
	Err   error // an *erasure.PieceError or *erasure.RowError
}

func (e *PieceError) Error() string {
	return fmt.Sprintf("piece %d does not verify: %v", e.Piece, e.Err)
}

func (e *PieceError) Unwrap() error { return e.Err }

// errUnreadable marks bytes of a stored piece that the disk did not give.
var errUnreadable = errors.New("stored bytes cannot be read")

// isLost reports whether err, of reading a file, says that its bytes are gone.
func isLost(err error) bool {
	lost := func(gone error) bool { return errors.Is(err, gone) }
	return lost(errUnreadable) || lost(io.EOF) || lost(io.ErrUnexpectedEOF) || slices.ContainsFunc(lostErrors, lost)
}

// isAway reports whether err tells nothing of what is stored: a disk or server is
// away, descriptors or memory are short, the store fails or is being closed, and
// tomorrow it may be over.
func isAway(err error) bool {
	if errors.Is(err, ErrFailed) || errors.Is(err, ErrClosed) || isContextError(err) {
		return true
	}
	_, system := errors.AsType[syscall.Errno](err)
	return system && !isLost(err) && !errors.Is(err, fs.ErrNotExist)
}

// unusable is what callers are told of err, which keeps the block from being used:
// that it is damaged, unless it is only away.
func unusable(id erasure.ID, err error) error {
	if isAway(err) {
		return fmt.Errorf("look at %s: %w", id, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrDamaged, id, err)
}

// isDamage reports whether err, of reading and checking a piece, says that the
// piece is bad, and not that something else is in the way.
func isDamage(err error) bool {
	_, wrong := errors.AsType[*PieceError](err)
	return wrong || errors.Is(err, errUnreadable)
}

// diskError adds ErrDiskFull to what the system says when space runs out.
func diskError(err error) error {
	if errors.Is(err, ErrDiskFull) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}
