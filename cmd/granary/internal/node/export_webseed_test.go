package node

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"granary/blobstore"
	"granary/erasure"
	"granary/swarm"
)

// FetchFromWeb fetches b from a web seed without waiting for BitTorrent, and
// returns how many bytes came.
func FetchFromWeb(ctx context.Context, b *blobstore.Block, base string, st swarm.Status, change ...func(*WebSeed)) (int64, error) {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirect refused") }}
	w := &webSeed{
		base: base, http: client, block: b, commit: b.CommitPiece, again: time.Millisecond, log: slog.New(slog.DiscardHandler),
		refused: erasure.NewPieceSet(b.Geometry().Pieces()),
	}
	for _, f := range change {
		f(w)
	}
	err := w.run(ctx, func() swarm.Status { return st })
	return w.read, err
}

// WebSeed is a web seed.
type WebSeed = webSeed

// Want makes it fetch these pieces.
func (w *webSeed) Want(pieces erasure.PieceSet) { w.want = pieces }

// CommitBy makes it commit pieces another way.
func (w *webSeed) CommitBy(commit func(context.Context, int) error) { w.commit = commit }

// The ways in which a web seed is given up.
var (
	ErrWebLies  = errWebLies
	ErrWebLacks = errWebLacks
	ErrWebStore = errWebStore
)
