package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"granary/erasure"
)

// Put makes a block of which no piece is held yet, or returns the one that is
// there, which learns b.Proof if it lacked it. A damaged block is mended as far
// as the bundle goes. The bundle is checked first; it may come from a stranger.
// Put keeps no reference to b's slices. When it returns, the block is durable.
func (s *Store) Put(ctx context.Context, b erasure.Bundle) (*Block, error) {
	if err := b.Info.Validate(); err != nil {
		return nil, err
	}
	if err := b.Check(); err != nil {
		return nil, err
	}
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()

	b.Proof = append([]byte(nil), b.Proof...)
	b.Layers.Content = append([]erasure.Root(nil), b.Layers.Content...)
	b.Layers.Parity = append([]erasure.Root(nil), b.Layers.Parity...)
	if len(b.Proof) == 0 {
		b.Proof = nil
	}
	if old, err := s.Block(b.Info.ID()); err == nil {
		return old, old.learn(b)
	}
	st, err := s.stage(blockCost(len(b.Info.Encode()), b.Info.Geometry()))
	if err != nil {
		return nil, fmt.Errorf("put %s: %w", b.Info.ID(), err)
	}
	defer st.discard()
	if err := st.createFiles(b.Info.Geometry().PaddedLength()); err != nil {
		return nil, fmt.Errorf("put %s: %w", b.Info.ID(), diskError(err))
	}
	block, _, err := st.install(ctx, b, false)
	if err != nil {
		return nil, fmt.Errorf("put %s: %w", b.Info.ID(), diskError(err))
	}
	return block, nil
}

// staging is a folder in blocks/ that becomes a block by being renamed.
type staging struct {
	s       *Store
	dir     string
	charged int64
}

// stage makes a folder and reserves n bytes for it. It must be discarded,
// which does nothing after install made a block of it.
func (s *Store) stage(n int64) (*staging, error) {
	if err := s.quota.reserve(n); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(s.blocks, stagingPrefix+"*")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		s.quota.release(n)
		return nil, diskError(err)
	}
	return &staging{s: s, dir: dir, charged: n}, nil
}

func (st *staging) discard() {
	if st.dir == "" {
		return
	}
	if err := os.RemoveAll(st.dir); err != nil {
		st.s.log.Warn("staging folder stays until the next start", "file", st.dir, "err", err)
		return // on disk, and counted
	}
	st.s.quota.release(st.charged)
}

// grow raises what is reserved to n bytes.
func (st *staging) grow(n int64) error {
	if n <= st.charged {
		return nil
	}
	if err := st.s.quota.reserve(n - st.charged); err != nil {
		return err
	}
	st.charged = n
	return nil
}

// growWithRoom is grow, after room was made if there was none.
func (st *staging) growWithRoom(ctx context.Context, n int64) error {
	err := st.grow(n)
	if q, full := errors.AsType[*QuotaError](err); full && st.s.room != nil && st.s.room(ctx, q.Need) == nil {
		return st.grow(n)
	}
	return err
}

func (st *staging) createFiles(padded int64) error {
	for _, name := range []string{contentFile, parityFile} {
		if err := createSparse(filepath.Join(st.dir, name), padded); err != nil {
			return err
		}
	}
	return nil
}

// install completes the folder with b's description and makes it a block, of
// which all pieces are held if whole. If there is one by now it returns that,
// and the folder is left to be discarded.
func (st *staging) install(ctx context.Context, b erasure.Bundle, whole bool) (_ *Block, existed bool, err error) {
	s, id := st.s, b.Info.ID()
	if err := st.describe(b); err != nil {
		return nil, false, err
	}
	s.install.Lock()
	defer s.install.Unlock()
	if err := context.Cause(ctx); err != nil {
		return nil, false, err
	}
	old, err := s.Block(id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		old, err = s.mend(ctx, b)
	}
	if err == nil {
		return old, true, old.learn(b)
	}
	if !errors.Is(err, ErrNotFound) {
		return nil, false, err
	}

	block := newBlock(s, b.Info)
	block.pass.checked = now()
	if whole {
		block.state = wholeState(block.g.Pieces())
		block.touched = block.held.Clone()
	} else if err := st.mourn(block); err != nil {
		return nil, false, err
	}
	if err := s.at("install: rename"); err != nil {
		return nil, false, err
	}
	if err := os.Rename(st.dir, block.dir); err != nil {
		return nil, false, err
	}
	st.dir = block.dir // what discard removes if the rest fails
	if err := syncDir(s.blocks); err != nil {
		return nil, false, err
	}
	if err := s.at("install: index"); err != nil {
		return nil, false, err
	}
	if err := s.index.update(func(tx *bbolt.Tx) error {
		// A removal that did not finish must not remove this one at Open.
		if err := tx.Bucket(deletedBucket).Delete(id[:]); err != nil {
			return err
		}
		if err := tx.Bucket(scrubsBucket).Put(id[:], block.pass.encode()); err != nil {
			return err
		}
		return tx.Bucket(blocksBucket).Put(id[:], block.encode(id))
	}); err != nil {
		if s.index.failed.Load() {
			st.dir = "" // there may be an entry for it: Open will see
		}
		return nil, false, err
	}
	s.known.forget(id) // a deleted block's, which may lack the proof
	block.charged = st.charged
	st.dir = ""
	s.mu.Lock()
	s.byID[id] = block
	s.mu.Unlock()
	return block, false, s.at("install: acknowledge")
}

// mourn quarantines the pieces that the index says were held, of a block whose
// folder was lost, unless there is no room for them any more.
func (st *staging) mourn(b *Block) error {
	r, err := st.s.index.entry(b.id)
	if err != nil || r.state == nil {
		return err
	}
	old, err := parseState(b.id, b.g.Pieces(), r.state)
	if err != nil {
		return nil // nothing is known
	}
	lost := old.held
	lost.Union(old.bad)
	var n int64
	for p := range lost.All() {
		n += pieceBytes(b.g, p)
	}
	if st.grow(st.charged+n) == nil {
		b.bad, b.touched, b.clean = lost, lost.Clone(), old.clean
	}
	return nil
}

// describe writes the small files and makes the folder's names durable.
func (st *staging) describe(b erasure.Bundle) error {
	if err := st.s.at("stage: describe"); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(st.dir, infoFile), b.Info.Encode()); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(st.dir, layersFile), b.Layers.Encode()); err != nil {
		return err
	}
	if b.Proof != nil {
		if err := writeFile(filepath.Join(st.dir, proofFile), b.Proof); err != nil {
			return err
		}
	}
	return syncDir(st.dir)
}

// mend makes a damaged block usable with its bundle: in place when it has a
// folder, so that its held pieces stay. Without one it forgets the damage and
// returns ErrNotFound: the block can be installed, and finds its notes again.
func (s *Store) mend(ctx context.Context, b erasure.Bundle) (*Block, error) {
	id := b.Info.ID()
	s.mu.RLock()
	charged := s.damaged[id].charged
	s.mu.RUnlock()

	_, err := os.Stat(s.folder(id))
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return nil, err
	}
	var block *Block
	if !missing {
		if err := s.writeDescription(s.folder(id), b, true); err != nil {
			return nil, err
		}
		r, err := s.index.entry(id)
		if err != nil {
			return nil, err
		}
		if block, err = s.load(ctx, id, r); err != nil {
			return nil, unusable(id, err)
		}
	}
	s.quota.release(charged)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.damaged, id)
	if missing {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	s.byID[id] = block
	s.log.Warn("damaged block is mended", "block", id, "pieces", block.held.Count())
	return block, nil
}
