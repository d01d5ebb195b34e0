package blobstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"granary/erasure"
)

// stagingPrefix marks a folder that is being filled and not yet a block.
const stagingPrefix = ".staging-"

// loadsAtOnce is how many blocks are looked at together: a disk that seeks
// sorts them.
const loadsAtOnce = 8

// Open opens the store in dir, making the folder if there is none. It returns
// an error wrapping ErrLocked, and naming the file, when another process has
// it, and ErrSchema when a newer version wrote it.
//
// It trusts the index and hashes nothing, unless the index lacks a block that
// has a folder: then it verifies that block's pieces; or unless bytes of pieces
// that it lacks are there: then it verifies those, which a crash left behind. It
// never fails for the damage of one block: see Damaged.
func Open(ctx context.Context, dir string, cfg Config) (_ *Store, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		dir: dir, blocks: filepath.Join(dir, "blocks"),
		log: cfg.Logger, step: cfg.step, room: cfg.Room, limit: cfg.Quota,
		files:   newFiles(),
		commits: make(chan *commit),
		scrubs:  make(chan struct{}, 1),
		byID:    make(map[erasure.ID]*Block),
		damaged: make(map[erasure.ID]damage),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := makeDirs(s.blocks); err != nil {
		return nil, fmt.Errorf("open store: %w", diskError(err))
	}
	entries, deleted, err := s.openIndex(filepath.Join(dir, indexFile))
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := syncDir(dir); err != nil { // the index's name, which bbolt leaves to us
		return nil, errors.Join(fmt.Errorf("open store: %w", diskError(err)), s.index.close())
	}
	s.quota = quota{limit: cfg.Quota, index: s.index.length, beside: s.beside}
	s.ctx, s.stop = context.WithCancel(context.Background())
	if err := s.loadAll(ctx, entries, deleted); err != nil {
		s.stop()
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.files.close(), s.index.close())
	}
	s.writer.Go(s.writeCommits)
	return s, nil
}

// openIndex opens the index; one that cannot be read is put aside, and a new
// one is made, which loadAll fills from the folders.
func (s *Store) openIndex(path string) (entries map[erasure.ID]record, deleted []erasure.ID, err error) {
	s.index, entries, deleted, err = openIndex(path, s.log)
	if !errors.Is(err, errIndexDamaged) {
		return entries, deleted, err
	}
	aside, moveErr := putAside(path)
	s.log.Error("index cannot be read: put aside, rebuilding it from the blocks; notes are lost", "file", aside, "err", err)
	if moveErr != nil {
		return nil, nil, moveErr
	}
	s.index, entries, deleted, err = openIndex(path, s.log)
	return entries, deleted, err
}

// loadAll makes s.byID from the folders and the index's entries.
func (s *Store) loadAll(ctx context.Context, entries map[erasure.ID]record, deleted []erasure.ID) error {
	left, err := s.finishRemovals(deleted)
	if err != nil {
		return err
	}
	names, err := os.ReadDir(s.blocks)
	if err != nil {
		return err
	}
	if len(names) == 0 && len(entries) > 0 {
		return fmt.Errorf("%w: %d blocks, %s; mount the disk that has them, or, if they are lost, remove %s",
			ErrAbsent, len(entries), s.blocks, filepath.Join(s.dir, indexFile))
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(loadsAtOnce)
	for _, d := range names {
		if gctx.Err() != nil {
			break
		}
		path := filepath.Join(s.blocks, d.Name())
		if strings.HasPrefix(d.Name(), stagingPrefix) {
			group.Go(func() error {
				if err := os.RemoveAll(path); err != nil {
					s.leave(path, err)
				}
				return nil
			})
			continue
		}
		id, err := erasure.ParseID(d.Name())
		if err != nil || id.String() != d.Name() {
			s.leave(path, errors.New("not a block"))
			continue
		}
		if left[id] {
			continue
		}
		r := entries[id]
		delete(entries, id)
		group.Go(func() error { return s.loadOne(gctx, id, r) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.index.fresh && len(s.byID)+len(s.damaged) > 0 {
		s.log.Error("index was missing or damaged: it was made anew from the blocks, their notes are lost")
		if err := s.index.markRebuilt(); err != nil {
			return err
		}
	}
	for id := range entries {
		err := fmt.Errorf("%w: %s: its folder is missing", ErrDamaged, id)
		s.log.Error("block in the index has no folder", "block", id)
		s.damaged[id] = damage{err: err}
	}
	return nil
}

// finishRemovals removes the folders of blocks that were deleted, and returns
// those that cannot be removed now: the next Open tries again.
func (s *Store) finishRemovals(deleted []erasure.ID) (left map[erasure.ID]bool, err error) {
	left = make(map[erasure.ID]bool)
	for _, id := range deleted {
		if err := s.remove(id); errors.Is(err, ErrFailed) {
			return nil, err
		} else if err != nil {
			left[id] = true
			s.leave(s.folder(id), err)
		}
	}
	return left, nil
}

// leave leaves something in the folder of blocks that is no block, but counts it.
func (s *Store) leave(path string, why error) {
	s.log.Warn("left alone", "file", path, "err", why)
	if n, err := diskUsage(path, nil); err == nil {
		s.quota.charge(n)
	}
}

// loadOne loads a block or puts it among the damaged. Only what concerns the
// whole store is an error.
func (s *Store) loadOne(ctx context.Context, id erasure.ID, r record) error {
	b, err := s.load(ctx, id, r)
	if err == nil {
		s.mu.Lock()
		s.byID[id] = b
		s.mu.Unlock()
		return nil
	}
	if ctx.Err() != nil || errors.Is(err, ErrDiskFull) {
		return err
	}
	n, usageErr := diskUsage(s.folder(id), nil)
	if usageErr != nil {
		n = 0 // the disk does not even say what is there
	}
	s.log.Error("block cannot be used: left as it is", "block", id, "err", err)
	s.quota.charge(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.damaged[id] = damage{err: unusable(id, err), charged: n}
	return nil
}
