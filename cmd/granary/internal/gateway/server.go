package gateway

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"granary/blobstore"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
	"granary/ledger"
	"granary/sampling"
)

// maxTorrent bounds the .torrent that a fetch request may carry.
const maxTorrent = 1 << 20

// Listen opens the socket at path, replacing one that a killed node left. The
// caller holds the home's lock, so no live node can be behind it.
func Listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Serve answers commands on l until ctx ends, then closes l and returns once running
// calls have ended, with their contexts cancelled.
func Serve(ctx context.Context, l net.Listener, n *node.Node) error {
	return serve(ctx, l, handler(n))
}

func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	var running sync.WaitGroup
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			running.Add(1)
			defer running.Done()
			h.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err := s.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = s.Close() // somebody does not read, or does not go on writing
		}
		running.Wait()
		done <- err
	}()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return <-done
}

func handler(n *node.Node) http.Handler {
	g := gateway{n}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", g.status)
	mux.HandleFunc("GET /v1/peers", g.peers)
	mux.HandleFunc("GET /v1/custodians", g.custodians)
	mux.HandleFunc("GET /v1/blocks", g.blocks)
	mux.HandleFunc("POST /v1/blocks", g.publish)
	mux.HandleFunc("GET /v1/blocks/{ref}", g.block)
	mux.HandleFunc("GET /v1/blocks/{ref}/holders", g.holders)
	mux.HandleFunc("GET /v1/blocks/{ref}/torrent", g.torrent)
	mux.HandleFunc("GET /v1/blocks/{ref}/content", g.content)
	mux.HandleFunc("POST /v1/blocks/{ref}/fetch", g.fetch)
	mux.HandleFunc("POST /v1/blocks/{ref}/verify", g.verify)
	mux.HandleFunc("DELETE /v1/blocks/{ref}", g.delete)
	mux.HandleFunc("PUT /v1/blocks/{ref}/pin", g.pin)
	mux.HandleFunc("DELETE /v1/blocks/{ref}/pin", g.unpin)
	mux.HandleFunc("POST /v1/scrub", g.scrub)
	mux.HandleFunc("GET /v1/ledger/{ref}", g.standing)
	mux.HandleFunc("POST /v1/tx", g.submit)
	mux.HandleFunc("PUT /v1/lend", g.lend)
	mux.HandleFunc("PUT /v1/seeding", g.seedOn)
	mux.HandleFunc("DELETE /v1/seeding", g.seedOff)
	g.book(mux)
	mux.HandleFunc("POST /v1/watch", g.watch)
	monitor(mux, n)
	mux.HandleFunc("POST /v1/faults/withhold/{ref}", g.withhold)
	return mux
}

type gateway struct{ n *node.Node }

func (g gateway) status(w http.ResponseWriter, _ *http.Request) {
	s, err := g.n.Status()
	reply(w, s, err)
}

func (g gateway) peers(w http.ResponseWriter, _ *http.Request) {
	reply(w, g.n.Peers(), nil)
}

func (g gateway) custodians(w http.ResponseWriter, r *http.Request) {
	ids, err := g.n.Custodians(r.Context())
	reply(w, ids, err)
}

func (g gateway) blocks(w http.ResponseWriter, _ *http.Request) {
	reply(w, g.n.Blocks(), nil)
}

func (g gateway) block(w http.ResponseWriter, r *http.Request) {
	_, s, err := g.find(r)
	reply(w, s, err)
}

// HoldersReply answers who keeps rows of a block.
type HoldersReply struct {
	Holders []node.Holder `json:"holders"`
	Rows    int           `json:"rows"` // distinct rows they hold together
}

func (g gateway) holders(w http.ResponseWriter, r *http.Request) {
	ref, err := node.ParseRef(r.PathValue("ref"))
	if err != nil {
		reply(w, nil, err)
		return
	}
	hs, rows, err := g.n.Holders(r.Context(), ref)
	reply(w, HoldersReply{Holders: hs, Rows: rows}, err)
}

func (g gateway) torrent(w http.ResponseWriter, r *http.Request) {
	b, _, err := g.find(r)
	if err != nil {
		reply(w, nil, err)
		return
	}
	raw, err := node.Torrent(b)
	if err != nil {
		reply(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-bittorrent")
	w.Write(raw) // a reader that went away needs no answer
}

// content serves the bytes of a block that was checked whole, nothing else.
func (g gateway) content(w http.ResponseWriter, r *http.Request) {
	b, s, err := g.find(r)
	if err == nil && !s.Whole {
		err = fmt.Errorf("%w: %s is not whole in this home; `granary get` fetches it", blobstore.ErrNotFound, b.ID().Short())
	}
	if err != nil {
		reply(w, nil, err)
		return
	}
	defer g.n.Hold(b.ID())() // not dropped while it is read
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, b.Content())
}

func (g gateway) delete(w http.ResponseWriter, r *http.Request) {
	b, s, err := g.find(r)
	if err == nil {
		err = g.n.Remove(r.Context(), b.ID())
	}
	reply(w, s, err)
}

func (g gateway) publish(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	patience, err := time.ParseDuration(q.Get("patience"))
	if err != nil {
		reply(w, nil, exit.Usagef("", "patience: %w", err))
		return
	}
	keep, err := strconv.Atoi(q.Get("keep"))
	if err != nil {
		reply(w, nil, exit.Usagef("", "keep: %w", err))
		return
	}
	size, err := strconv.ParseInt(q.Get("size"), 10, 64)
	if err != nil {
		reply(w, nil, exit.Usagef("", "size: %w", err))
		return
	}
	// Content may be long in coming, and nobody waits for it who ends.
	defer context.AfterFunc(r.Context(), func() {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now())
	})()
	opt := node.PublishOptions{Wait: node.Wait(q.Get("wait")), Keep: keep, Namespace: q.Get("namespace"), Patience: patience, Size: size}
	stream(w, func(report node.Report) (any, error) {
		p, err := g.n.Publish(r.Context(), q.Get("name"), r.Body, opt, report)
		if err != nil {
			return nil, cmp.Or(r.Context().Err(), err)
		}
		return p.Result(), nil
	})
}

func (g gateway) fetch(w http.ResponseWriter, r *http.Request) {
	ref, opt, err := fetchRequest(r)
	if err != nil {
		reply(w, nil, err)
		return
	}
	stream(w, func(report node.Report) (any, error) {
		f, err := g.n.Fetch(r.Context(), ref, opt, report)
		if err != nil {
			return nil, err
		}
		return f.Result(), nil
	})
}

func (g gateway) verify(w http.ResponseWriter, r *http.Request) {
	ref, err := node.ParseRef(r.PathValue("ref"))
	opt, oerr := verifyOptions(r)
	if err = errors.Join(err, oerr); err != nil {
		reply(w, nil, err)
		return
	}
	stream(w, func(report node.Report) (any, error) {
		v, err := g.n.Verify(r.Context(), ref, opt, report)
		if err != nil {
			return nil, err
		}
		return v.Result(), nil
	})
}

func verifyOptions(r *http.Request) (node.VerifyOptions, error) {
	q := r.URL.Query()
	bits, err := strconv.Atoi(q.Get("bits"))
	patience, perr := time.ParseDuration(q.Get("patience"))
	wait, werr := time.ParseDuration(q.Get("wait"))
	if err = errors.Join(err, perr, werr); err != nil {
		return node.VerifyOptions{}, exit.Usagef("", "%w", err)
	}
	if bits < 0 || bits > erasure.MaxBits {
		return node.VerifyOptions{}, exit.Usagef("", "%d bits of confidence are not 1 to %d", bits, erasure.MaxBits)
	}
	return node.VerifyOptions{Bits: bits, Patience: patience, Wait: wait, Escalate: q.Get("escalate") == "true"}, nil
}

func watchOptions(r *http.Request) (node.WatchOptions, error) {
	verify, err := verifyOptions(r)
	if err != nil {
		return node.WatchOptions{}, err
	}
	opt := node.WatchOptions{VerifyOptions: verify}
	if opt.Budget, err = strconv.ParseInt(r.URL.Query().Get("budget"), 10, 64); err != nil {
		return opt, exit.Usagef("", "budget: %w", err)
	}
	if opt.Namespace, err = node.ParseNamespace(r.URL.Query().Get("namespace")); err != nil {
		return opt, exit.Usagef("", "namespace: %w", err)
	}
	return opt, nil
}

// askLedger bounds how long a call waits for the ledger.
const askLedger = 10 * time.Second

func (g gateway) standing(w http.ResponseWriter, r *http.Request) {
	ref, err := node.ParseRef(r.PathValue("ref"))
	if err != nil {
		reply(w, nil, err)
		return
	}
	s, err := g.n.Standing(r.Context(), ref, askLedger)
	reply(w, s, err)
}

// submit hands a signed transaction on.
func (g gateway) submit(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, 2*ledger.MaxTx))
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), askLedger)
		defer cancel()
		err = g.n.Submit(ctx, raw)
	}
	reply(w, struct{}{}, err)
}

// watch streams what a watcher sees, a line each, until the caller goes away.
func (g gateway) watch(w http.ResponseWriter, r *http.Request) {
	opt, err := watchOptions(r)
	if err != nil {
		reply(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	err = g.n.Watch(r.Context(), opt, func(seen node.Watched) { line(w, seen) })
	if errors.Is(err, node.ErrWatching) {
		reply(w, nil, err)
	}
}

// withhold makes the node drop pieces of a block: a fault, for devnets.
func (g gateway) withhold(w http.ResponseWriter, r *http.Request) {
	id, err := erasure.ParseID(r.PathValue("ref"))
	groups, gerr := strconv.ParseUint(r.URL.Query().Get("groups"), 16, 64)
	if err = errors.Join(err, gerr); err == nil {
		err = g.n.Withhold(r.Context(), id, sampling.GroupSet(groups))
	}
	reply(w, struct{}{}, err)
}

func fetchRequest(r *http.Request) (node.Ref, node.FetchOptions, error) {
	var opt node.FetchOptions
	ref, err := node.ParseRef(r.PathValue("ref"))
	if err != nil {
		return ref, opt, err
	}
	if opt.Patience, err = time.ParseDuration(r.URL.Query().Get("patience")); err != nil {
		return ref, opt, exit.Usagef("", "patience: %w", err)
	}
	for _, p := range r.URL.Query()["peer"] {
		addr, err := netip.ParseAddrPort(p)
		if err != nil {
			return ref, opt, exit.Usagef("a peer is an IP address and a port: 192.0.2.7:4748", "peer: %w", err)
		}
		opt.Peers = append(opt.Peers, addr)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxTorrent))
	if err != nil {
		return ref, opt, fmt.Errorf("read request: %w", err)
	}
	if len(body) > 0 {
		b, err := erasure.ParseTorrent(body)
		if err != nil {
			return ref, opt, err
		}
		ref = node.Ref{ID: b.Info.ID(), Bundle: &b}
	}
	return ref, opt, nil
}

func (g gateway) find(r *http.Request) (*blobstore.Block, node.BlockStatus, error) {
	ref, err := node.ParseRef(r.PathValue("ref"))
	if err != nil {
		return nil, node.BlockStatus{}, err
	}
	if ref.InLedger() {
		id, err := g.n.ResolveInLedger(r.Context(), ref, askLedger)
		if err != nil {
			return nil, node.BlockStatus{}, err
		}
		ref = node.Ref{ID: id}
	}
	return g.n.Block(ref)
}

// reply writes one object: v, or the error in its place.
func reply(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		v = NewError(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("BUG: encode %T: %v", v, err))
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Write(b) // a reader that went away needs no answer
}

// stream runs call and writes its progress and outcome, a line each.
func stream(w http.ResponseWriter, call func(node.Report) (any, error)) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	// Progress goes out while the request's body is still coming in.
	_ = http.NewResponseController(w).EnableFullDuplex()
	var last time.Time
	result, err := call(func(p node.Progress) {
		if done := p.Done == p.Total; done || time.Since(last) > 100*time.Millisecond {
			last = time.Now()
			line(w, NewProgress(p))
		}
	})
	if err != nil {
		line(w, NewError(err))
		return
	}
	line(w, struct {
		Kind
		Result any `json:"result"`
	}{Kind{"result", Schema}, result})
}

// line writes one object and a newline, and sends it off.
func line(w http.ResponseWriter, v any) {
	var buf bytes.Buffer
	if err := json.NewEncoder(&buf).Encode(v); err != nil {
		panic(fmt.Sprintf("BUG: encode %T: %v", v, err))
	}
	w.Write(buf.Bytes())
	_ = http.NewResponseController(w).Flush() // a reader that went away cancels r.Context
}
