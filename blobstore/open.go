package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
// has a folder: then it verifies that block's pieces. It never fails for the
// damage of one block: see Damaged.
func Open(ctx context.Context, dir string, cfg Config) (_ *Store, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		dir: dir, blocks: filepath.Join(dir, "blocks"),
		log: cfg.Logger, step: cfg.step, limit: cfg.Quota,
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
		return nil, errors.Join(fmt.Errorf("open store: %w", diskError(err)), s.index.db.Close())
	}
	s.quota = quota{limit: cfg.Quota, index: s.index.length, beside: s.beside}
	s.ctx, s.stop = context.WithCancel(context.Background())
	if err := s.loadAll(ctx, entries, deleted); err != nil {
		s.stop()
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.files.close(), s.index.db.Close())
	}
	s.writer.Go(s.writeCommits)
	return s, nil
}

// openIndex opens the index; one that cannot be read is put aside, and a new
// one is made, which loadAll fills from the folders.
func (s *Store) openIndex(path string) (entries map[erasure.ID]record, deleted []erasure.ID, err error) {
	s.index, entries, deleted, err = openIndex(path)
	if !errors.Is(err, errIndexDamaged) {
		return entries, deleted, err
	}
	aside := path + ".damaged"
	for n := 2; ; n++ {
		if _, statErr := os.Lstat(aside); errors.Is(statErr, fs.ErrNotExist) {
			break
		}
		aside = fmt.Sprintf("%s.damaged-%d", path, n)
	}
	s.log.Error("index cannot be read: put aside, rebuilding it from the blocks; notes are lost", "file", aside, "err", err)
	if err := os.Rename(path, aside); err != nil {
		return nil, nil, err
	}
	s.index, entries, deleted, err = openIndex(path)
	return entries, deleted, err
}

// loadAll makes s.byID from the folders and the index's entries.
func (s *Store) loadAll(ctx context.Context, entries map[erasure.ID]record, deleted []erasure.ID) error {
	for _, id := range deleted {
		if err := s.remove(id); err != nil {
			return err
		}
	}
	names, err := os.ReadDir(s.blocks)
	if err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(loadsAtOnce)
	for _, d := range names {
		if gctx.Err() != nil {
			break
		}
		if strings.HasPrefix(d.Name(), stagingPrefix) {
			group.Go(func() error { return os.RemoveAll(filepath.Join(s.blocks, d.Name())) })
			continue
		}
		id, err := erasure.ParseID(d.Name())
		if err != nil || id.String() != d.Name() {
			s.log.Warn("not a block: left alone", "file", filepath.Join(s.blocks, d.Name()))
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
		return usageErr
	}
	s.log.Error("block cannot be used: left as it is", "block", id, "err", err)
	s.quota.charge(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.damaged[id] = damage{err: fmt.Errorf("%w: %s: %w", ErrDamaged, id, err), charged: n}
	return nil
}
