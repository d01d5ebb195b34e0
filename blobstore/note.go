package blobstore

import (
	"bytes"
	"context"
	"fmt"

	"go.etcd.io/bbolt"
)

// Note returns a copy of what SetNote stored under key, nil if nothing.
func (b *Block) Note(key string) []byte {
	var value []byte
	err := b.s.index.view(func(tx *bbolt.Tx) error {
		value = bytes.Clone(tx.Bucket(notesBucket).Get(b.noteKey(key)))
		return nil
	})
	if err != nil {
		b.s.log.Error("note cannot be read", "block", b.id, "err", err)
	}
	return value
}

// SetNote stores a small value beside the block, durably: at most 64 bytes of
// key and 64 KiB of value, else ErrNote. An empty value removes the note.
// Delete removes all notes. A *QuotaError stores nothing.
func (b *Block) SetNote(ctx context.Context, key string, value []byte) error {
	if len(key) < 1 || len(key) > maxNoteKey || len(value) > maxNoteValue {
		return fmt.Errorf("%w: %d and %d bytes", ErrNote, len(key), len(value))
	}
	_, leave, err := b.s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if len(value) > 0 {
		// The index is counted by its length; this asks only whether it may grow.
		n := int64(len(value))
		if err := b.s.quota.reserve(n); err != nil {
			return err
		}
		defer b.s.quota.release(n)
	}
	err = b.s.index.update(func(tx *bbolt.Tx) error {
		notes := tx.Bucket(notesBucket)
		if len(value) == 0 {
			return notes.Delete(b.noteKey(key))
		}
		if tx.Bucket(blocksBucket).Get(b.id[:]) == nil {
			return b.errGone()
		}
		return notes.Put(b.noteKey(key), value)
	})
	if err != nil {
		return fmt.Errorf("set note of %s: %w", b.id, err)
	}
	return nil
}

func (b *Block) noteKey(key string) []byte { return append(b.id[:], key...) }
