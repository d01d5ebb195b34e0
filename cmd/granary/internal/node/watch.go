package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"granary/cmd/granary/internal/durable"
	"granary/erasure"
	"granary/ledger"
	"granary/sampling"
)

const (
	// pollHead is how often a watcher looks whether the verified head has moved,
	// and whether it is time to ask for something again.
	pollHead = 200 * time.Millisecond

	// maxBacklog bounds the blocks that wait for their test; the oldest beyond
	// it are given up. maxBehind bounds the log entries that a watcher which was
	// away reads again.
	maxBacklog = 1000
	maxBehind  = 16_384

	// watchTries is how often a block is tested that gives no final verdict: at
	// once, after 10 and after 120 retry rounds.
	watchTries = 3
)

// ErrWatching reports that the home is being watched already.
var ErrWatching = errors.New("another `granary watch` uses this home's node")

// skipped is the reason given for a block that was not tested.
const skipped sampling.Reason = "newer blocks used up the byte budget"

// WatchOptions say which blocks to test; the zero value works.
type WatchOptions struct {
	VerifyOptions
	Namespace string // only blocks announced in it, as ParseNamespace returns it; "": all
	Budget    int64  // bytes of rows in 24 hours, beyond which no test begins; 0: no limit
}

// ParseNamespace returns a namespace as WatchOptions want it: nothing, a name, or a
// publisher's key in hex, whose digits may be upper case. It refuses all else.
func ParseNamespace(text string) (string, error) {
	var key ledger.PublicKey
	if key.UnmarshalText([]byte(text)) == nil {
		return key.String(), nil
	}
	if text == "" {
		return "", nil
	}
	return text, ledger.CheckName(text)
}

// within reports whether a record was announced in a namespace, or none is
// asked for.
func within(r ledger.Record, namespace string) bool {
	return namespace == "" || r.Namespace == namespace || r.Namespace == "" && r.Publisher.String() == namespace
}

// Watched is one thing a watcher sees: a head of the ledger, the verdict on a
// block that was certified since it began, or why it tests nothing now.
type Watched struct {
	Ledger  *LedgerStatus `json:"ledger,omitempty"`
	Verdict *VerifyResult `json:"verdict,omitempty"`
	Paused  string        `json:"paused,omitempty"`
	Waiting int           `json:"waiting,omitempty"` // blocks whose test is yet to come
}

// Watch follows the verified head until ctx ends, and tests every block that
// is certified, newest first, once its holders have had their time. One that
// gives no final verdict is tested again, with the same rows. A watcher that
// was away takes up what it missed. It returns ErrWatching if another runs.
func (n *Node) Watch(ctx context.Context, opt WatchOptions, emit func(Watched)) error {
	if !n.watching.TryLock() {
		return ErrWatching
	}
	defer n.watching.Unlock()
	w := &watcher{n: n, opt: opt, emit: emit, state: n.loadWatch()}
	tick := time.NewTicker(pollHead)
	defer tick.Stop()
	var told LedgerStatus
	for {
		n.mu.Lock()
		now := n.ledger
		n.mu.Unlock()
		if now.State != told.State || now.Size != told.Size {
			told = now
			emit(Watched{Ledger: &now, Waiting: len(w.state.Open)})
		}
		if err := w.read(ctx, now.Size); err != nil && ctx.Err() == nil {
			n.log.Debug("log not read", "err", err) // the next look tries again
		}
		if item, ok := w.next(time.Now()); ok {
			w.test(ctx, item)
			if ctx.Err() != nil {
				return ctx.Err() // an interrupted test is in the backlog on disk, and must stay there
			}
			continue // the log may have grown meanwhile
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// watcher is one run of Watch.
type watcher struct {
	n     *Node
	opt   WatchOptions
	emit  func(Watched)
	state watchState

	paused bool // for want of bytes, and that was said
}

// read takes the blocks that were certified since the last look into the
// backlog.
func (w *watcher) read(ctx context.Context, size uint64) error {
	if w.state.Next == 0 {
		w.state.Next = size // what was certified before is no news
	}
	if size > maxBehind {
		w.state.Next = max(w.state.Next, size-maxBehind)
	}
	for w.state.Next < size {
		entries, err := w.n.light.Entries(ctx, w.state.Next, entriesAtOnce)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Kind != ledger.EntryCertified {
				continue
			}
			item, wanted, err := w.item(ctx, e)
			if err != nil {
				return err
			}
			if wanted {
				w.state.Open = append(w.state.Open, item)
			}
		}
		w.state.Next += uint64(len(entries))
		w.trim()
		w.n.saveWatch(w.state)
	}
	return nil
}

// item is the work that a certificate makes, if it is of a block that is
// watched.
func (w *watcher) item(ctx context.Context, e ledger.Entry) (watchItem, bool, error) {
	announced, err := w.n.light.Entry(ctx, e.Outcome.Announcement)
	if err != nil {
		return watchItem{}, false, err
	}
	r := announced.Tx.Record
	wanted := within(r, w.opt.Namespace) && !w.n.deniesRecord(r)
	return watchItem{
		Index: e.Outcome.Announcement, ID: idText(e.Outcome.ID), Due: w.n.schedule().graceEnds(r.Info, e.Time),
	}, wanted, nil
}

// trim gives up the oldest blocks beyond maxBacklog.
func (w *watcher) trim() {
	slices.SortFunc(w.state.Open, func(a, b watchItem) int { return cmp.Compare(a.Index, b.Index) })
	for len(w.state.Open) > maxBacklog {
		item := w.state.Open[0]
		w.state.Open = w.state.Open[1:]
		v := Verified{Verdict: sampling.Verdict{ID: erasure.ID(item.ID), State: sampling.Inconclusive, Reason: skipped}}
		v.Found.Index = item.Index
		w.n.record(v, item.Tries)
		w.tell(v)
	}
}

// next removes from the backlog the newest block that is due, if the budget
// has room for it.
func (w *watcher) next(now time.Time) (watchItem, bool) {
	if spent := w.n.tests.Spent(now); w.opt.Budget > 0 && spent >= w.opt.Budget {
		if !w.paused && len(w.state.Open) > 0 {
			w.paused = true
			w.emit(Watched{Waiting: len(w.state.Open), Paused: fmt.Sprintf(
				"the byte budget is used up: %d of %d in the last 24 hours", spent, w.opt.Budget)})
		}
		return watchItem{}, false
	}
	w.paused = false
	for i, item := range slices.Backward(w.state.Open) {
		if !now.Before(item.Due) {
			w.state.Open = slices.Delete(w.state.Open, i, i+1)
			return item, true
		}
	}
	return watchItem{}, false
}

// test tests one block, and puts it back if it is to be tested again.
func (w *watcher) test(ctx context.Context, item watchItem) {
	if item.Tries == 0 {
		item.Began = time.Now()
	}
	item.Tries++
	v, err := w.n.verify(ctx, Ref{ID: erasure.ID(item.ID)}, w.opt.VerifyOptions, nil)
	if err != nil {
		v.Err = err.Error()
	}
	if ctx.Err() != nil {
		return // the backlog on disk still has it
	}
	v.Found.Index = item.Index
	w.n.record(v, item.Tries)
	if !v.Final() && item.Tries < watchTries {
		item.Due = w.n.schedule().next(item.Began, item.Tries, v)
		w.state.Open = append(w.state.Open, item)
	}
	w.trim()
	w.n.saveWatch(w.state)
	w.tell(v)
}

func (w *watcher) tell(v Verified) {
	r := v.Result()
	w.emit(Watched{Verdict: &r, Waiting: len(w.state.Open)})
}

// idText is an ID that is written as hex.
type idText erasure.ID

// MarshalText implements encoding.TextMarshaler.
func (id idText) MarshalText() ([]byte, error) { return []byte(erasure.ID(id).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *idText) UnmarshalText(text []byte) error {
	parsed, err := erasure.ParseID(string(text))
	*id = idText(parsed)
	return err
}

// watchItem is a block that awaits a test.
type watchItem struct {
	Index uint64    `json:"index"` // log index of its announcement
	ID    idText    `json:"id"`
	Due   time.Time `json:"due"`
	Tries int       `json:"tries"`
	Began time.Time `json:"began,omitzero"` // the first test
}

// watchState is what a watcher must not forget.
type watchState struct {
	Next uint64      `json:"next"` // the first log entry not looked at; 0: never watched
	Open []watchItem `json:"open"` // by index
}

// maxWatchFile bounds what is read of it: some 200,000 open blocks.
const maxWatchFile = 64 << 20

func (n *Node) watchPath() string { return filepath.Join(JournalDir(n.cfg.Dir), "watch") }

// loadWatch returns where the last watcher of this home stopped; the zero
// state, which begins at the head, if there was none or its file is damaged.
func (n *Node) loadWatch() watchState {
	var s watchState
	raw, err := durable.Read(n.watchPath(), maxWatchFile)
	if errors.Is(err, fs.ErrNotExist) {
		return s
	}
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		n.log.Warn("watcher begins at the head", "err", err)
		return watchState{}
	}
	return s
}

func (n *Node) saveWatch(s watchState) {
	raw, err := json.Marshal(s)
	if err == nil {
		err = durable.Write(n.watchPath(), append(raw, '\n'), 0o600)
	}
	if err != nil {
		n.log.Warn("watcher's place not kept", "err", err)
	}
}
