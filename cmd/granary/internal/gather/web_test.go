package gather_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"granary/blobstore"
	"granary/cmd/granary/internal/gather"
	"granary/erasure"
	"granary/swarm"
)

// anyRows is what is wanted where any k rows are.
var anyRows erasure.PieceSet

// folder serves files on a web server as any does.
func folder(t *testing.T, files map[string][]byte) http.Handler {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return http.FileServer(http.Dir(dir))
}

// redirected is h, but path lies elsewhere.
func redirected(path string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func fetchFromWeb(t *testing.T, h http.Handler, b *blobstore.Block, st swarm.Status, want erasure.PieceSet, change ...func(*gather.Web)) (int64, error) {
	t.Helper()
	s := httptest.NewServer(h)
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return fetchFrom(ctx, s.URL+"/", b, st, want, change...)
}

// fetchFrom fetches from a web seed without waiting for BitTorrent, and returns how
// many bytes came.
func fetchFrom(ctx context.Context, base string, b *blobstore.Block, st swarm.Status, want erasure.PieceSet, change ...func(*gather.Web)) (int64, error) {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirect refused") }}
	w := gather.NewWeb(client, base, b, want, slog.New(slog.DiscardHandler))
	w.AtOnce()
	for _, f := range change {
		f(w)
	}
	err := w.Run(ctx, func() swarm.Status { return st })
	return w.Read(), err
}

// TestADescriptionThatCannotBeReadEndsAFetchFromTheWeb: nothing that comes can be
// checked.
func TestADescriptionThatCannotBeReadEndsAFetchFromTheWeb(t *testing.T) {
	content, whole, _ := publishedBlock(t, 20)
	dir := t.TempDir()
	open := func() *blobstore.Store {
		t.Helper()
		s, err := blobstore.Open(t.Context(), dir, blobstore.Config{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	_, err := s.Put(t.Context(), whole.Bundle())
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer s.Close()
	b, err := s.Block(whole.ID())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "blocks", whole.ID().String(), "layers")); err != nil {
		t.Fatal(err)
	}
	if _, err := fetchFromWeb(t, folder(t, map[string][]byte{"block": content}), b, swarm.Status{}, anyRows); !errors.Is(err, gather.ErrStore) {
		t.Errorf("got %v, want ErrStore", err)
	}
}

func TestContentComesFromAWebSeed(t *testing.T) {
	for _, rows := range []int{1, 20, 513} {
		content, whole, _ := publishedBlock(t, rows)
		padded := make([]byte, whole.Geometry().PaddedLength())
		copy(padded, content)
		for name, h := range map[string]http.Handler{
			"as published":                          folder(t, map[string][]byte{"block": content}),
			"as a client has it":                    folder(t, map[string][]byte{"block/block": padded}),
			"redirected from where a client has it": redirected("/block/block", folder(t, map[string][]byte{"block": content})),
			"without ranges": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/block" {
					http.NotFound(w, r)
					return
				}
				_, _ = w.Write(content)
			}),
		} {
			if rows > 100 && name != "as published" {
				continue
			}
			empty, err := openStore(t).Put(t.Context(), erasure.Bundle{Info: whole.Bundle().Info, Layers: whole.Bundle().Layers}) // as from a .torrent
			if err != nil {
				t.Fatal(err)
			}
			read, err := fetchFromWeb(t, h, empty, swarm.Status{}, anyRows)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if read < int64(len(content)) || read > int64(len(padded)) {
				t.Errorf("%s: %d bytes read for %d", name, read, len(content))
			}
			if err := empty.Complete(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(empty.Content())
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s: content differs, or %v", name, err)
			}
		}
	}
}

func TestAWebSeedIsAskedForWhatPeersLack(t *testing.T) {
	content, whole, empty := publishedBlock(t, 40)
	g := whole.Geometry()
	st := swarm.Status{Peers: 1, Available: erasure.NewPieceSet(g.Pieces())}
	for p := range g.FilePieces() - 3 {
		if p != 5 {
			st.Available.Add(p)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := httptest.NewServer(folder(t, map[string][]byte{"block": content}))
	defer s.Close()
	go func() { // it would wait for peers to bring the rest
		for tick := time.Tick(5 * time.Millisecond); empty.Held().Count() < 4 && ctx.Err() == nil; {
			<-tick
		}
		cancel()
	}()
	read, err := fetchFrom(ctx, s.URL+"/", empty, st, anyRows)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	held := empty.Held()
	for _, p := range []int{5, 37, 38, 39} {
		if !held.Has(p) {
			t.Errorf("piece %d, which no peer has, is not held", p)
		}
	}
	if held.Count() != 4 || read > 4*erasure.RowSize {
		t.Errorf("%d pieces held, %d bytes read, want 4 pieces", held.Count(), read)
	}
}

func TestBadWebSeedsAreGivenUp(t *testing.T) {
	content, _, empty := publishedBlock(t, 20)
	wrong := bytes.Clone(content)
	wrong[len(wrong)-1] ^= 1
	for name, c := range map[string]struct {
		h    http.Handler
		want error
	}{
		"lacks it":    {folder(t, nil), gather.ErrLacks},
		"has another": {folder(t, map[string][]byte{"block": wrong}), gather.ErrLies},
		"other range": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 5-9/10")
			w.WriteHeader(http.StatusPartialContent)
		}), gather.ErrLies},
	} {
		if _, err := fetchFromWeb(t, c.h, empty, swarm.Status{}, anyRows); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestAWebSeedThatFailsIsAskedAgain(t *testing.T) {
	content, _, empty := publishedBlock(t, 20)
	h := folder(t, map[string][]byte{"block": content})
	var asked atomic.Int32
	_, err := fetchFromWeb(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	}), empty, swarm.Status{}, anyRows)
	if err != nil {
		t.Error(err)
	}
}

func TestAFullStoreIsNotTheWebSeedsFault(t *testing.T) {
	content, whole, _ := publishedBlock(t, 40)
	store, err := blobstore.Open(t.Context(), t.TempDir(), blobstore.Config{Quota: 20 * erasure.RowSize})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	b, err := store.Put(t.Context(), whole.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fetchFromWeb(t, folder(t, map[string][]byte{"block": content}), b, swarm.Status{}, anyRows); !errors.Is(err, blobstore.ErrQuota) {
		t.Errorf("got %v, want ErrQuota", err)
	}
}

// TestAFailingStoreIsNotTheWebSeedsFault lets commits fail after bytes came and
// hashed right: the server must be asked once, and not be blamed.
func TestAFailingStoreIsNotTheWebSeedsFault(t *testing.T) {
	content, _, empty := publishedBlock(t, 20)
	h := folder(t, map[string][]byte{"block": content})
	var asked atomic.Int32
	_, err := fetchFromWeb(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		h.ServeHTTP(w, r)
	}), empty, swarm.Status{}, anyRows, func(w *gather.Web) {
		w.CommitBy(func(context.Context, int) error { return blobstore.ErrDiskFull })
	})
	if !errors.Is(err, gather.ErrStore) || !errors.Is(err, blobstore.ErrDiskFull) {
		t.Errorf("got %v, want ErrDiskFull as the store's", err)
	}
	if n := asked.Load(); n > 2 { // at either place
		t.Errorf("the server was asked %d times", n)
	}
}

// TestAPublishersLieIsNotTheWebSeedsFault refuses two pieces whose hashes are
// right: the others must come, and those not be asked for again.
func TestAPublishersLieIsNotTheWebSeedsFault(t *testing.T) {
	content, _, empty := publishedBlock(t, 20)
	want := erasure.NewPieceSet(empty.Geometry().Pieces())
	for p := range 20 {
		want.Add(p)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := httptest.NewServer(folder(t, map[string][]byte{"block": content}))
	defer s.Close()
	go func() { // it would wait for peers to bring the rest
		for tick := time.Tick(5 * time.Millisecond); empty.Held().Count() < 18 && ctx.Err() == nil; {
			<-tick
		}
		cancel()
	}()
	read, err := fetchFrom(ctx, s.URL+"/", empty, swarm.Status{}, want, func(w *gather.Web) {
		w.CommitBy(func(ctx context.Context, piece int) error {
			if piece == 3 || piece == 11 {
				return &blobstore.PieceError{Piece: piece, Err: &erasure.RowError{Row: piece, Reason: "combination"}}
			}
			return empty.CommitPiece(ctx, piece)
		})
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if empty.Held().Count() != 18 || read > 20*erasure.RowSize {
		t.Errorf("%d pieces held, %d bytes read, want 18 pieces of 20", empty.Held().Count(), read)
	}
}

func TestAWebSeedGivesTheContentOfAShare(t *testing.T) {
	content, whole, empty := publishedBlock(t, 40)
	want := erasure.NewPieceSet(whole.Geometry().Pieces())
	for _, p := range []int{4, 17, 18} {
		want.Add(p)
	}
	st := swarm.Status{Peers: 1, Available: erasure.AllPieces(whole.Geometry().Pieces())}
	st.Available.Remove(4)
	st.Available.Remove(17)
	if _, err := empty.WritePieceAt(18, content[18*erasure.RowSize:][:erasure.RowSize], 0); err != nil {
		t.Fatal(err)
	}
	if err := empty.CommitPiece(t.Context(), 18); err != nil {
		t.Fatal(err)
	}
	read, err := fetchFromWeb(t, folder(t, map[string][]byte{"block": content}), empty, st, want)
	if err != nil {
		t.Fatal(err)
	}
	if !empty.Held().Contains(want) || empty.Held().Count() != 3 || read != 2*erasure.RowSize {
		t.Errorf("%d pieces held, %d bytes read, want pieces 4, 17 and 18, the last of them from a peer", empty.Held().Count(), read)
	}
}

func TestCheckWebSeed(t *testing.T) {
	if err := gather.CheckWebSeed("https://example.org/files/"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "https://example.org/file", "ftp://example.org/", "/files/", "https://example.org/?a=/"} {
		if gather.CheckWebSeed(bad) == nil {
			t.Errorf("%q is taken for a web seed", bad)
		}
	}
}
