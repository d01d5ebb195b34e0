package blobstore

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"granary/erasure"
)

// Config holds what is optional. Its zero value has no quota and logs nothing.
type Config struct {
	// Quota bounds the bytes on disk of everything under the store's folder;
	// 0 leaves the disk as the only bound. A store that is already larger
	// opens, and refuses to grow. What others write beside the blocks is
	// counted, and cannot be refused.
	Quota int64

	// Room is asked to free so many bytes when the quota refuses what Import
	// reads on the way, which is content whose length nobody knew; if it returns
	// nil the quota is asked again. It may call Delete and DropPieces. nil: nobody
	// is asked.
	Room func(ctx context.Context, bytes int64) error

	// Logger hears of damage that was found and of what was done about it.
	Logger *slog.Logger

	step func(string) error // tests: kill or fail at a named step
}

// A Store is a folder of blocks. Its methods may be called from any number of
// goroutines.
type Store struct {
	dir     string
	blocks  string // dir/blocks
	log     *slog.Logger
	step    func(string) error
	room    func(context.Context, int64) error
	index   *index
	quota   quota
	files   *files
	known   descriptions
	buffers sync.Pool // of *[]byte, maxPieceLength each
	limit   int64

	ctx     context.Context // ends at Close, and with it what runs long
	stop    context.CancelFunc
	commits chan *commit
	writer  sync.WaitGroup // the goroutine that receives from commits

	install  sync.Mutex    // one block folder comes or goes at a time
	adopting sync.Mutex    // one block is verified anew at a time, see Block.adopt
	scrubs   chan struct{} // one slot: one block is scrubbed at a time

	mu      sync.RWMutex
	byID    map[erasure.ID]*Block // guarded by mu
	damaged map[erasure.ID]damage // guarded by mu
	closed  bool                  // guarded by mu
	ops     sync.WaitGroup        // operations under way; Add only with mu held and not closed
}

// damage is a block that is in the folder or in the index but cannot be used.
type damage struct {
	err     error
	charged int64 // bytes counted against the quota
}

// Usage is how full a store is.
type Usage struct {
	Bytes  int64 // on disk, holes in sparse files not counted
	Quota  int64 // 0: none
	Blocks int   // damaged ones not counted
}

// Dir is the store's folder, as an absolute path.
func (s *Store) Dir() string { return s.dir }

// Close waits for what is under way, interrupting what runs long, and releases
// the lock. It may be called twice.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()

	s.stop()
	s.ops.Wait()
	close(s.commits)
	s.writer.Wait()
	return errors.Join(s.files.close(), s.index.close())
}

// enter begins an operation that Close must wait for. The context it returns
// ends with ctx or with Close; leave must be called.
func (s *Store) enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, nil, ErrClosed
	}
	s.ops.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(s.ctx, func() { cancel(ErrClosed) })
	return ctx, func() { unhook(); cancel(nil); s.ops.Done() }, nil
}

// Block returns the block, or ErrNotFound, or ErrDamaged when it is there but
// cannot be used until Put mends it. One that the system did not let Open look at
// is its error, until the next Open or Put.
func (s *Store) Block(id erasure.ID) (*Block, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if b, ok := s.byID[id]; ok {
		return b, nil
	}
	if d, ok := s.damaged[id]; ok {
		return nil, d.err
	}
	return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
}

// Blocks returns all blocks, sorted by ID.
func (s *Store) Blocks() []*Block {
	s.mu.RLock()
	all := slices.Collect(maps.Values(s.byID))
	s.mu.RUnlock()
	slices.SortFunc(all, func(a, b *Block) int { return bytes.Compare(a.id[:], b.id[:]) })
	return all
}

// Damaged says what is wrong with each block that Open found and could not
// use. Nothing of them was removed: Put of the same block mends what its bundle
// can mend, Delete removes.
func (s *Store) Damaged() map[erasure.ID]error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make(map[erasure.ID]error, len(s.damaged))
	for id, d := range s.damaged {
		all[id] = d.err
	}
	return all
}

// Resolve returns the one block whose ID starts with prefix: 8 to 64 hex
// digits of either case. It returns ErrNotFound or ErrAmbiguous.
func (s *Store) Resolve(prefix string) (erasure.ID, error) {
	const minDigits, maxDigits = 8, 2 * len(erasure.ID{})
	lower := strings.ToLower(prefix)
	_, err := hex.DecodeString(lower[:len(lower)&^1])
	if err != nil || len(lower) < minDigits || len(lower) > maxDigits ||
		strings.Trim(lower[len(lower)&^1:], "0123456789abcdef") != "" {
		return erasure.ID{}, fmt.Errorf("%w: %q is not %d to %d hex digits", ErrNotFound, prefix, minDigits, maxDigits)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []erasure.ID
	for id := range s.byID {
		if strings.HasPrefix(id.String(), lower) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return erasure.ID{}, fmt.Errorf("%w: %s", ErrNotFound, prefix)
	case 1:
		return found[0], nil
	}
	return erasure.ID{}, fmt.Errorf("%w: %s", ErrAmbiguous, prefix)
}

// Failed reports whether the index could not be written: what is stored can be
// read, and nothing can be stored until the store is opened again.
func (s *Store) Failed() bool { return s.index.failed.Load() }

// Usage measures what is on disk: it asks the file system about every file.
func (s *Store) Usage() (Usage, error) {
	n, err := diskUsage(s.dir, nil)
	if err != nil {
		return Usage{}, fmt.Errorf("measure store: %w", err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return Usage{Bytes: n, Quota: s.limit, Blocks: len(s.byID)}, nil
}

// Delete removes a block with its notes, damaged or not, or returns ErrNotFound.
// While the block is being completed it waits. Once the index has forgotten the
// block a crash cannot bring it back: Open finishes the removal.
func (s *Store) Delete(ctx context.Context, id erasure.ID) error {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	s.install.Lock()
	defer s.install.Unlock()

	b, err := s.Block(id)
	if errors.Is(err, ErrNotFound) {
		return err
	}
	if b != nil {
		end, err := b.exclude(ctx)
		if err != nil {
			return err
		}
		defer end()
	}
	if err := s.at("delete: bury"); err != nil {
		return err
	}
	if err := s.index.bury(id); err != nil {
		return fmt.Errorf("delete %s: %w", id, err)
	}
	s.mu.Lock()
	charged := s.damaged[id].charged
	delete(s.byID, id)
	delete(s.damaged, id)
	s.mu.Unlock()
	if b != nil {
		charged += b.bury()
	}
	if err := s.remove(id); err != nil {
		return fmt.Errorf("delete %s: %w", id, err) // still counted: still on disk
	}
	s.quota.release(charged)
	return nil
}

// remove takes a buried block's folder away and ends the burial.
func (s *Store) remove(id erasure.ID) error {
	dir := s.folder(id)
	s.known.forget(id)
	s.files.forget(filepath.Join(dir, contentFile), filepath.Join(dir, parityFile))
	if err := s.at("delete: remove"); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := syncDir(s.blocks); err != nil {
		return err
	}
	if err := s.at("delete: rest"); err != nil {
		return err
	}
	return s.index.rest(id)
}

func (s *Store) folder(id erasure.ID) string { return filepath.Join(s.blocks, id.String()) }

// at marks a step of a write path, where tests end or fail it.
func (s *Store) at(step string) error {
	if s.step == nil {
		return nil
	}
	return s.step(step)
}
