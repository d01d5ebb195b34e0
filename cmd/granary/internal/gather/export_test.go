package gather

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// AtOnce gives BitTorrent no head start.
func (r *Rows) AtOnce() { r.after = 0 }

// Known lists the holders that are remembered.
func (r *Rows) Known() []peer.ID { return slices.Collect(maps.Keys(r.holders)) }

// AtOnce gives BitTorrent no head start, and servers that failed no rest.
func (w *Web) AtOnce() { w.after, w.again = 0, time.Millisecond }

// CommitBy makes it commit pieces another way.
func (w *Web) CommitBy(commit func(context.Context, int) error) { w.commit = commit }
