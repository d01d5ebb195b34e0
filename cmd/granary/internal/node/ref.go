package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"granary/blobstore"
	"granary/cmd/granary/internal/durable"
	"granary/erasure"
	"granary/ledger"
)

// maxTorrentFile bounds a .torrent that is read: an info dictionary and two
// piece layers of 512 hashes are below 40 KiB.
const maxTorrentFile = 1 << 20

// Ref names a block: by its ID, by the first digits of it, or by a .torrent
// file, which also brings the description.
type Ref struct {
	ID     erasure.ID
	Prefix string          // set instead of ID: lower-case hex digits to be found in the store
	Index  *uint64         // set instead of ID: number of an entry of the ledger's log about the block
	Name   string          // set instead of ID: a name in the ledger that points at the block
	Bundle *erasure.Bundle // what a .torrent file says; nil otherwise
}

// ParseRef reads a reference as people type it: 64 hex digits, 8 or more of
// them, a magnet link, @name, #index in the log, or the path of a .torrent file.
func ParseRef(s string) (Ref, error) {
	switch {
	case strings.HasPrefix(s, "@"):
		if err := ledger.CheckName(s[1:]); err != nil {
			return Ref{}, fmt.Errorf("%w: %w", ErrRef, err)
		}
		return Ref{Name: s[1:]}, nil
	case strings.HasPrefix(s, "#"):
		index, err := strconv.ParseUint(s[1:], 10, 64)
		if err != nil {
			return Ref{}, fmt.Errorf("%w: %q is no index in the log", ErrRef, s)
		}
		return Ref{Index: &index}, nil
	case strings.HasPrefix(strings.ToLower(s), "magnet:"):
		id, err := erasure.ParseMagnet(s)
		return Ref{ID: id}, err
	case strings.HasSuffix(s, ".torrent"):
		b, err := ReadTorrent(s)
		if err != nil {
			return Ref{}, err
		}
		return Ref{ID: b.Info.ID(), Bundle: &b}, nil
	case !isHex(s) || len(s) < 8 || len(s) > 64:
		return Ref{}, fmt.Errorf("%w: %q", ErrRef, s)
	case len(s) < 64:
		return Ref{Prefix: strings.ToLower(s)}, nil
	}
	id, err := erasure.ParseID(s)
	return Ref{ID: id}, err
}

// Torrent returns the .torrent file of a stored block. The error is that of a
// description that is damaged, or cannot be read now, which is logged.
func Torrent(b *blobstore.Block) ([]byte, error) {
	bundle := b.Bundle()
	if err := bundle.Check(); err != nil {
		return nil, fmt.Errorf("describe %s: %w; `granary scrub --repair %[1]s` mends what is damaged", b.ID().Short(), err)
	}
	return bundle.Torrent(), nil
}

// ReadTorrent reads and checks a .torrent file.
func ReadTorrent(path string) (erasure.Bundle, error) {
	raw, err := durable.Read(path, maxTorrentFile)
	if errors.Is(err, durable.ErrTooLong) {
		return erasure.Bundle{}, fmt.Errorf("%w: %w", erasure.ErrTorrent, err)
	}
	if err != nil {
		return erasure.Bundle{}, fmt.Errorf("read torrent: %w", err)
	}
	b, err := erasure.ParseTorrent(raw)
	if err != nil {
		return erasure.Bundle{}, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// String returns r as ParseRef reads it; of a .torrent file, the ID.
func (r Ref) String() string {
	switch {
	case r.Name != "":
		return "@" + r.Name
	case r.Index != nil:
		return "#" + strconv.FormatUint(*r.Index, 10)
	case r.Prefix != "":
		return r.Prefix
	}
	return r.ID.String()
}

func isHex(s string) bool {
	for _, c := range s {
		if !strings.ContainsRune("0123456789abcdefABCDEF", c) {
			return false
		}
	}
	return true
}

// InLedger reports whether it takes the ledger to say which block ref names.
func (r Ref) InLedger() bool { return r.Index != nil || r.Name != "" }

// ResolveInLedger returns the ID that ref names: as it is, from the store for a
// prefix, or from the ledger for a name or an index, with a proof. It waits at
// most patience for the ledger.
func (n *Node) ResolveInLedger(ctx context.Context, ref Ref, patience time.Duration) (erasure.ID, error) {
	if !ref.InLedger() {
		return n.Resolve(ref)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := n.synced(ctx); err != nil {
		return erasure.ID{}, fmt.Errorf("%w: %w", ErrOffline, err)
	}
	if ref.Name != "" {
		return n.resolveName(ctx, ref.Name)
	}
	e, err := n.light.Entry(ctx, *ref.Index)
	switch {
	case err != nil:
		return erasure.ID{}, fmt.Errorf("entry %d of the log: %w", *ref.Index, err)
	case e.Kind == ledger.EntryCertified, e.Kind == ledger.EntryExpired:
		return e.Outcome.ID, nil
	case e.Kind == ledger.EntryTx && e.Tx.Kind == ledger.KindAnnounce:
		return e.Tx.Record.ID(), nil
	}
	return erasure.ID{}, fmt.Errorf("%w: entry %d of the log is about no single block", ErrRef, *ref.Index)
}
