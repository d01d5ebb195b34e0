package node

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"granary/blobstore"
	"granary/swarm"
)

// FetchFromWeb fetches b from a web seed without waiting for BitTorrent, and
// returns how many bytes came.
func FetchFromWeb(ctx context.Context, b *blobstore.Block, base string, st swarm.Status) (int64, error) {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirect refused") }}
	w := &webSeed{base: base, http: client, block: b, again: time.Millisecond, log: slog.New(slog.DiscardHandler)}
	err := w.run(ctx, func() swarm.Status { return st })
	return w.read, err
}

// The ways in which a web seed is given up.
var (
	ErrWebLies  = errWebLies
	ErrWebLacks = errWebLacks
)
