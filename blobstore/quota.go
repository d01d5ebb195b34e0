package blobstore

import (
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"sync"
	"time"

	"granary/erasure"
)

const (
	diskUnit = 4096 // what a file system rounds to: ext4 and XFS by default

	// bytesPerExtent bounds what mapping one fragment of a sparse file costs:
	// 12 bytes on ext4, 16 on XFS. A fragment is at least one row, because
	// peers write whole rows.
	bytesPerExtent = 16

	// direntBytes bounds a block's entry in blocks/: 8 + 64 bytes, in
	// directory nodes that may be less than half full.
	direntBytes = 256

	// rootBytes is for dir and blocks/ themselves.
	rootBytes = 2 * diskUnit

	// indexSpare is for the index of a small store; a larger one counts twice
	// its size, because bbolt doubles the file when it grows.
	indexSpare = 128 << 10
)

func roundUp(n int64) int64 { return (n + diskUnit - 1) / diskUnit * diskUnit }

// blockCost is what a block costs on disk before any piece: its folder, the
// three small files, and the maps of the two sparse ones. The proof counts
// even while it is unknown, so that learning it can never be refused.
func blockCost(infoLength int, g erasure.Geometry) int64 {
	small := roundUp(int64(infoLength)) + roundUp(proofLength(g)) + roundUp(layersLength(g))
	return diskUnit + direntBytes + small + 2*mapBytes(g)
}

// mapBytes is what mapping one of the two sparse files costs on disk, at most.
func mapBytes(g erasure.Geometry) int64 {
	if g.K() <= 4 {
		return 0 // up to four fragments fit the inode
	}
	return roundUp(int64(g.K())*bytesPerExtent) + diskUnit
}

// pieceBytes is the length of a piece in bytes.
func pieceBytes(g erasure.Geometry, piece int) int64 {
	_, rows := g.PieceSpan(piece)
	return int64(rows) * erasure.RowSize
}

func proofLength(g erasure.Geometry) int64  { return 16 * int64(g.K()) }
func layersLength(g erasure.Geometry) int64 { return 32 * int64(g.Pieces()) }

// Cost is what a block of geometry g takes of a quota with these pieces, at
// most: for its description it counts the longest name there can be.
func Cost(g erasure.Geometry, pieces erasure.PieceSet) int64 {
	n := blockCost(maxInfoLength, g)
	for p := range pieces.All() {
		n += pieceBytes(g, p)
	}
	return n
}

// besideEvery is how long a measure of what others write into the store's
// folder is believed.
const besideEvery = 10 * time.Second

// A quota counts bytes that are on disk or promised to a writer.
type quota struct {
	limit  int64                 // 0: none
	index  func() int64          // length of index.db
	beside func() (int64, error) // what others have in the folder: a node's ledger and keys

	mu       sync.Mutex
	used     int64     // guarded by mu
	others   int64     // guarded by mu: what beside said last
	measured time.Time // guarded by mu: when
}

// free is what may still be reserved; it may be negative. The caller holds mu.
func (q *quota) free() (int64, error) {
	if now := time.Now(); now.Sub(q.measured) > besideEvery {
		n, err := q.beside()
		if err != nil {
			return 0, fmt.Errorf("measure what is beside the blocks: %w", err)
		}
		q.others, q.measured = n, now
	}
	return q.limit - q.used - q.others - rootBytes - max(indexSpare, 2*q.index()), nil
}

// reserve promises n bytes, or returns a *QuotaError and promises nothing.
func (q *quota) reserve(n int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.limit > 0 && n > 0 {
		free, err := q.free()
		if err != nil {
			return err
		}
		if n > free {
			return &QuotaError{Need: n, Free: free}
		}
	}
	q.used += n
	return nil
}

// charge counts n bytes that are on disk already.
func (q *quota) charge(n int64) {
	q.mu.Lock()
	q.used += n
	q.mu.Unlock()
}

// Free is how many bytes may still be written before the quota is reached;
// negative once it is exceeded because it was lowered, or because something
// else in the folder grew. math.MaxInt64 without a quota.
func (s *Store) Free() (int64, error) {
	if s.limit == 0 {
		return math.MaxInt64, nil
	}
	s.quota.mu.Lock()
	defer s.quota.mu.Unlock()
	return s.quota.free()
}

// beside measures what is in the folder and not ours to count one by one: all
// but the blocks and the index.
func (s *Store) beside() (int64, error) {
	return diskUsage(s.dir, func(path string, _ fs.DirEntry) bool {
		return path == s.blocks || path == s.dir || path == filepath.Join(s.dir, indexFile)
	})
}

// release gives n bytes back.
func (q *quota) release(n int64) { q.charge(-n) }
