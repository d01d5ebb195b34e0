package gather

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"granary/blobstore"
	"granary/erasure"
	"granary/swarm"
)

const (
	webRun     = 4 << 20 // bytes asked of a web seed at a time
	webCommits = 8       // pieces being committed at once, which share fsyncs
	webRetry   = 5 * time.Second
	webRetries = time.Minute // the longest pause, after failures in a row
)

// ErrLies reports that a web seed has other bytes than the block's.
var ErrLies = errors.New("web seed has other bytes")

// ErrLacks reports that a web seed does not have the content.
var ErrLacks = errors.New("web seed does not have it")

// ErrStore reports that what came from a web seed cannot be stored.
var ErrStore = errors.New("not stored")

// Web is a folder on a web server that has the content of blocks (BEP 19):
// at NAME/NAME, as a stock client stores it, or at NAME, as it was published. It
// costs somebody's server, so it is asked only for what peers cannot give.
type Web struct {
	base   string // URL, ends in "/"
	http   *http.Client
	block  *blobstore.Block
	want   erasure.PieceSet                 // zero: any k rows
	commit func(context.Context, int) error // block.CommitPiece
	after  time.Duration                    // the head start of peers
	again  time.Duration                    // before a server that failed is asked again; doubled each time
	log    *slog.Logger

	mu      sync.Mutex
	read    int64            // guarded by mu: bytes that came
	refused erasure.PieceSet // guarded by mu: are not the block's, though their hashes are right
}

// NewWeb fetches content of b from the folder at base, a URL that CheckWebSeed lets
// pass. want is the pieces to fetch; the zero set: any k rows.
func NewWeb(client *http.Client, base string, b *blobstore.Block, want erasure.PieceSet, log *slog.Logger) *Web {
	return &Web{
		base: base, http: client, block: b, want: want, commit: b.CommitPiece, after: headStart, again: webRetry, log: log,
		refused: erasure.NewPieceSet(b.Geometry().Pieces()),
	}
}

// CheckWebSeed returns an error unless base is the URL of a folder.
func CheckWebSeed(base string) error {
	u, err := url.Parse(base)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || !strings.HasSuffix(u.Path, "/") || u.RawQuery != "") {
		err = errors.New("want http:// or https://, and / at the end: content is looked for in that folder, by its name")
	}
	if err != nil {
		return fmt.Errorf("%w: web seed %q: %w", swarm.ErrSource, base, err)
	}
	return nil
}

// Run fetches content pieces while what peers offer is too little, until what is
// wanted is at hand: then it returns nil. It gives up on a server that lacks the
// content, or lies, and when nothing can be stored.
func (w *Web) Run(ctx context.Context, offered func() swarm.Status) error {
	pause, again := w.after, w.again
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		pause = lookEvery
		if w.done() {
			return nil
		}
		first, end := w.choose(offered())
		if first == end {
			continue
		}
		err := w.fetch(ctx, first, end)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrStore):
			return err
		case errors.Is(err, ErrLies), errors.Is(err, ErrLacks):
			w.log.Warn("web seed given up", "host", w.host(), "block", w.block.ID().Short(), "err", err)
			return err
		case err != nil:
			w.log.Debug("web seed failed", "host", w.host(), "block", w.block.ID().Short(), "err", err)
			pause, again = again, min(2*again, webRetries)
		default:
			again = w.again
		}
	}
}

// done reports whether what is wanted is at hand.
func (w *Web) done() bool {
	if w.want.Cap() == 0 {
		return w.block.RowsAtHand() >= w.block.Geometry().K()
	}
	return w.block.Held().Contains(w.want)
}

// host is what logs may have of the URL: there can be a password before it.
func (w *Web) host() string {
	u, err := url.Parse(w.base)
	if err != nil {
		return ""
	}
	return u.Host
}

// choose picks the last run of wanted content pieces that nobody else has; rows
// asked for one by one, see Rows, come from the other end. An empty one: none
// while peers have enough.
func (w *Web) choose(st swarm.Status) (first, end int) {
	g := w.block.Geometry()
	reach := Reachable(w.block.Held(), st)
	anyRows := w.want.Cap() == 0
	if anyRows && g.RowsIn(reach) >= g.K() {
		return 0, 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	ask := func(p int) bool { return !reach.Has(p) && !w.refused.Has(p) && (anyRows || w.want.Has(p)) }
	for end = g.FilePieces(); end > 0 && !ask(end-1); end-- {
	}
	for first = end; first > 0 && ask(first-1) && int64(end-first+1)*g.PieceLength() <= max(webRun, g.PieceLength()); first-- {
	}
	return first, end
}

// fetch asks for the pieces first ≤ p < end, at either place.
func (w *Web) fetch(ctx context.Context, first, end int) error {
	name := url.PathEscape(w.block.Bundle().Info.Name)
	err := w.get(ctx, w.base+name+"/"+name, first, end)
	if errors.Is(err, ErrLacks) {
		err = w.get(ctx, w.base+name, first, end)
	}
	return err
}

func (w *Web) get(ctx context.Context, address string, first, end int) error {
	g := w.block.Geometry()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	from, to := int64(first)*g.PieceLength(), min(int64(end)*g.PieceLength(), g.PaddedLength())
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
	req.Header.Set("User-Agent", "granary")
	res, err := w.http.Do(req)
	if err != nil && res != nil { // a redirect, which is not followed; its body is closed
		return fmt.Errorf("%w: %s", ErrLacks, res.Status)
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusPartialContent:
		var start int64
		if n, err := fmt.Sscanf(res.Header.Get("Content-Range"), "bytes %d-", &start); n != 1 || err != nil || start != from {
			return fmt.Errorf("%w: it answers bytes %d onwards with %q", ErrLies, from, res.Header.Get("Content-Range"))
		}
	case http.StatusOK: // it gives all or nothing
		first, end = 0, g.FilePieces()
	case http.StatusNotFound, http.StatusForbidden, http.StatusGone, http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%w: %s", ErrLacks, res.Status)
	default:
		return errors.New(res.Status)
	}
	return w.take(ctx, res.Body, first, end)
}

// take reads pieces from body and commits those that are not held. What lies
// behind the content is zero, whether the server has it or not.
func (w *Web) take(ctx context.Context, body io.Reader, first, end int) error {
	g, layers := w.block.Geometry(), w.block.Bundle().Layers
	if len(layers.Content) == 0 {
		return fmt.Errorf("%w: the block's description cannot be read", ErrStore)
	}
	commits, ctx := errgroup.WithContext(ctx)
	commits.SetLimit(webCommits)
	err := func() error {
		for p := first; p < end && ctx.Err() == nil; p++ {
			_, rows := g.PieceSpan(p)
			data := make([]byte, rows*erasure.RowSize)
			want := min(int64(len(data)), g.Length()-int64(p)*g.PieceLength())
			n, err := io.ReadFull(body, data[:want])
			if err == nil && int(want) < len(data) {
				var more int
				more, _ = io.ReadFull(body, data[want:]) // the padding, if it is there
				n += more
			}
			w.mu.Lock()
			w.read += int64(n)
			w.mu.Unlock()
			if err != nil {
				return fmt.Errorf("piece %d: %w", p, err)
			}
			if w.block.Has(p) {
				continue
			}
			hash, err := erasure.PieceHash(g, p, data)
			if err != nil {
				return err
			}
			if hash != layers.Piece(p) {
				return fmt.Errorf("%w: piece %d", ErrLies, p)
			}
			commits.Go(func() error { return w.keep(ctx, p, data) })
		}
		return nil
	}()
	return errors.Join(err, commits.Wait())
}

// keep stores a piece whose hash is right. What goes wrong then is not the
// server's fault: the store is full or fails, or the publisher lied. A peer that
// came meanwhile may write into it as well; then it is written again.
func (w *Web) keep(ctx context.Context, piece int, data []byte) error {
	const tries = 3
	var err error
	for range tries {
		if _, err = w.block.WritePieceAt(piece, data, 0); err == nil {
			err = w.commit(ctx, piece)
		}
		if err == nil || w.block.Has(piece) {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, lie := errors.AsType[*erasure.RowError](err); lie {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.refused.Add(piece)
			return nil
		}
		if _, overwritten := errors.AsType[*blobstore.PieceError](err); !overwritten {
			break
		}
	}
	return fmt.Errorf("%w: %w", ErrStore, err)
}

// Read returns how many bytes came.
func (w *Web) Read() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.read
}
