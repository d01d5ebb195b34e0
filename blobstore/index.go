package blobstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"granary/erasure"
)

const (
	schemaVersion = 1

	// lockWait is how long Open waits for a process that is just ending.
	lockWait = 250 * time.Millisecond

	maxNoteKey   = 64
	maxNoteValue = 64 << 10
)

// The buckets of index.db; docs/spec/store.md has their bytes.
var (
	metaBucket    = []byte("meta")    // "schema" → u32le
	blocksBucket  = []byte("blocks")  // ID → entry
	notesBucket   = []byte("notes")   // ID ‖ key → value
	deletedBucket = []byte("deleted") // ID → nothing: its folder is to be removed
	scrubsBucket  = []byte("scrubs")  // ID → pass
)

var rebuiltKey = []byte("rebuilt") // in meta → i64, Unix seconds

var (
	errIndexDamaged = errors.New("index is damaged")
	errIndexPage    = fmt.Errorf("%w: a page of it cannot be used", errIndexDamaged) // see guard
)

// A record is all that the index has about a block but its notes.
type record struct {
	state []byte // encoded; nil: none
	pass  pass
}

// index is the bbolt file. Its lock is the lock of the store.
type index struct {
	db     *bbolt.DB
	file   *os.File    // bbolt's own, to ask for its length
	failed atomic.Bool // see update
	broken atomic.Bool // see guard
	log    *slog.Logger
	fresh  bool // it was made just now
}

// openIndex opens or creates the index at path and reads all of it, so that
// damage shows now: errIndexDamaged. Another process has it: ErrLocked.
func openIndex(path string, log *slog.Logger) (ix *index, entries map[erasure.ID]record, deleted []erasure.ID, err error) {
	var file *os.File
	defer func() {
		if err != nil && file != nil {
			_ = file.Close() // again when bbolt did; after a panic it did not
		}
	}()
	err = guard(func() error {
		ix, entries, deleted, err = readIndex(path, &file)
		return err
	})
	if err == nil {
		ix.log = log
	}
	return ix, entries, deleted, err
}

// guard runs f, which reads the index. bbolt reads by mmap and checks little: a
// bad page panics, and one that the disk does not give is a fault. Either is
// errIndexPage here, and bbolt's locks may stay held.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errIndexPage, p)
		}
	}()
	return f()
}

// readIndex is openIndex; file is bbolt's from when it is open.
func readIndex(path string, file **os.File) (ix *index, entries map[erasure.ID]record, deleted []erasure.ID, err error) {
	db, err := bbolt.Open(path, 0o644, &bbolt.Options{
		Timeout:      lockWait,
		FreelistType: bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, mode)
			*file = f
			return f, err
		},
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, nil, nil, fmt.Errorf("%w: %s", ErrLocked, path)
	case err != nil:
		if _, system := errors.AsType[syscall.Errno](err); system {
			return nil, nil, nil, diskError(err)
		}
		return nil, nil, nil, fmt.Errorf("%w: %w", errIndexDamaged, err) // it is no bbolt file
	}
	// Whoever held the lock before may have put the file aside as damaged.
	if same, err := isFileAt(*file, path); err != nil || !same {
		return nil, nil, nil, errors.Join(fmt.Errorf("%w: %s", ErrLocked, path), err, db.Close())
	}
	ix = &index{db: db, file: *file}
	if err := ix.prepare(); err != nil {
		return nil, nil, nil, errors.Join(err, db.Close())
	}
	entries, deleted, err = ix.load()
	if err != nil {
		return nil, nil, nil, errors.Join(err, db.Close())
	}
	return ix, entries, deleted, nil
}

func isFileAt(f *os.File, path string) (bool, error) {
	a, err := f.Stat()
	if err != nil {
		return false, err
	}
	b, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(a, b), err
}

// prepare makes the buckets of a new index and checks the schema of an old one.
func (ix *index) prepare() error {
	var fresh bool
	older := false // than scrubs
	err := ix.db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if fresh = meta == nil; fresh {
			return nil
		}
		older = tx.Bucket(scrubsBucket) == nil
		v := meta.Get([]byte("schema"))
		if len(v) != 4 {
			return fmt.Errorf("%w: no schema version", errIndexDamaged)
		}
		if got := binary.LittleEndian.Uint32(v); got != schemaVersion {
			return fmt.Errorf("%w: schema %d, this one reads %d", ErrSchema, got, schemaVersion)
		}
		for _, name := range [][]byte{blocksBucket, notesBucket, deletedBucket} {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("%w: no bucket %s", errIndexDamaged, name)
			}
		}
		return nil
	})
	if err != nil || !fresh && !older {
		return err
	}
	ix.fresh = fresh
	return diskError(ix.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{metaBucket, blocksBucket, notesBucket, deletedBucket, scrubsBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(metaBucket).Put([]byte("schema"), binary.LittleEndian.AppendUint32(nil, schemaVersion))
	}))
}

// load copies every entry and touches every page.
func (ix *index) load() (entries map[erasure.ID]record, deleted []erasure.ID, err error) {
	entries = make(map[erasure.ID]record)
	err = ix.db.View(func(tx *bbolt.Tx) error {
		if have := ix.length(); tx.Size() > have {
			return fmt.Errorf("%w: %d bytes of %d", errIndexDamaged, have, tx.Size())
		}
		if err := tx.Bucket(blocksBucket).ForEach(func(k, v []byte) error {
			if len(k) != len(erasure.ID{}) {
				return fmt.Errorf("%w: key of %d bytes", errIndexDamaged, len(k))
			}
			entries[erasure.ID(k)] = record{
				state: append([]byte(nil), v...),
				pass:  parsePass(tx.Bucket(scrubsBucket).Get(k)),
			}
			return nil
		}); err != nil {
			return err
		}
		if err := tx.Bucket(notesBucket).ForEach(func(k, v []byte) error { return nil }); err != nil {
			return err
		}
		return tx.Bucket(deletedBucket).ForEach(func(k, v []byte) error {
			// Nothing is deleted for the sake of an altered page.
			if len(k) != len(erasure.ID{}) || len(v) > 0 || tx.Bucket(blocksBucket).Get(k) != nil {
				return fmt.Errorf("%w: %x is not to be deleted", errIndexDamaged, k)
			}
			deleted = append(deleted, erasure.ID(k))
			return nil
		})
	})
	return entries, deleted, err
}

// length is that of the file, which is no less than what it takes on disk.
func (ix *index) length() int64 {
	info, err := ix.file.Stat()
	if err != nil {
		return 0 // closed: nothing is written any more
	}
	return info.Size()
}

// put writes a block's entry.
func (ix *index) put(id erasure.ID, st state) error {
	return ix.update(func(tx *bbolt.Tx) error {
		return tx.Bucket(blocksBucket).Put(id[:], st.encode(id))
	})
}

// view runs f in a transaction that reads.
func (ix *index) view(f func(*bbolt.Tx) error) error {
	if ix.broken.Load() {
		return ErrFailed
	}
	return ix.guard(func() error { return ix.db.View(f) })
}

// guard runs f, which uses the open index; what guards it found damaged is not
// touched again.
func (ix *index) guard(f func() error) error {
	err := guard(f)
	if errors.Is(err, errIndexPage) {
		ix.broken.Store(true)
		ix.fail(err)
		err = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return err
}

// fail ends writing.
func (ix *index) fail(err error) {
	if !ix.failed.Swap(true) {
		ix.log.Error("index cannot be written: nothing is stored any more until the store is opened again", "err", err)
	}
}

// close releases the lock. A broken index is put aside, so that the next one is
// made anew; its lock lasts until the process ends, because bbolt's memory map
// has a part in it.
func (ix *index) close() error {
	if !ix.broken.Load() {
		return ix.db.Close()
	}
	_, err := putAside(ix.file.Name())
	return errors.Join(err, ix.file.Close()) // bbolt may wait for ever
}

// putAside renames an index that is damaged.
func putAside(path string) (aside string, err error) {
	aside = path + ".damaged"
	for n := 2; ; n++ {
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		}
		aside = fmt.Sprintf("%s.damaged-%d", path, n)
	}
	return aside, os.Rename(path, aside)
}

// update runs f in a transaction that is durable when update returns nil.
//
// When writing it goes wrong nobody knows which of the two states is on disk,
// so nothing may be written any more that only one of them allows: the store
// has failed until it is opened again. Not so when the disk is full: the pages
// of the new state then found no room, and the old one stands.
func (ix *index) update(f func(*bbolt.Tx) error) error {
	if ix.failed.Load() {
		return ErrFailed
	}
	var refused error
	err := ix.guard(func() error {
		return ix.db.Update(func(tx *bbolt.Tx) error {
			refused = f(tx)
			return refused
		})
	})
	err = diskError(err)
	if err == nil || refused != nil || errors.Is(err, ErrDiskFull) || errors.Is(err, ErrFailed) {
		return err
	}
	ix.fail(err)
	return fmt.Errorf("%w: %w", ErrFailed, err)
}

// change applies f to the entry of a block of n pieces. Only the index knows
// what other transactions did since, so the entry is read within this one.
func change(tx *bbolt.Tx, id erasure.ID, n int, f func(*state)) error {
	blocks := tx.Bucket(blocksBucket)
	v := blocks.Get(id[:])
	if v == nil {
		return fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	st, err := parseState(id, n, v)
	if err != nil {
		return err
	}
	f(&st)
	return blocks.Put(id[:], st.encode(id))
}

// bury forgets all about a block but that its folder is to be removed.
func (ix *index) bury(id erasure.ID) error {
	return ix.update(func(tx *bbolt.Tx) error {
		if err := tx.Bucket(blocksBucket).Delete(id[:]); err != nil {
			return err
		}
		if err := tx.Bucket(scrubsBucket).Delete(id[:]); err != nil {
			return err
		}
		notes := tx.Bucket(notesBucket)
		var keys [][]byte // a cursor must not run over keys that go away
		c := notes.Cursor()
		for k, _ := c.Seek(id[:]); bytes.HasPrefix(k, id[:]); k, _ = c.Next() {
			keys = append(keys, bytes.Clone(k))
		}
		for _, k := range keys {
			if err := notes.Delete(k); err != nil {
				return err
			}
		}
		return tx.Bucket(deletedBucket).Put(id[:], nil)
	})
}

// rest ends the burial: the folder is gone.
func (ix *index) rest(id erasure.ID) error {
	return ix.update(func(tx *bbolt.Tx) error { return tx.Bucket(deletedBucket).Delete(id[:]) })
}

// entry returns a copy of what there is of a block.
func (ix *index) entry(id erasure.ID) (r record, err error) {
	err = ix.view(func(tx *bbolt.Tx) error {
		r.state = bytes.Clone(tx.Bucket(blocksBucket).Get(id[:]))
		r.pass = parsePass(tx.Bucket(scrubsBucket).Get(id[:]))
		return nil
	})
	return r, err
}
