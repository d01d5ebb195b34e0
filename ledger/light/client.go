package light

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cometbft/cometbft/types"

	"granary/ledger"
)

// TrustPeriod is how long a head is trusted without news: for so long removed
// validators guard their keys.
const TrustPeriod = 180 * 24 * time.Hour

// What callers branch on.
var (
	// ErrUnreachable reports that no provider answered.
	ErrUnreachable = errors.New("no provider of the ledger answers")

	// ErrStale reports a verified head older than two heartbeats: the chain has
	// stopped, or all providers are behind or keep the news back.
	ErrStale = errors.New("the head of the ledger is stale")

	// ErrForked reports two chains that both have the signatures to be trusted, or
	// a signed head that takes entries back. Validators with more than a third of
	// the power lie: only people can settle it.
	ErrForked = errors.New("the ledger has forked")

	// ErrCheckpoint reports that there is nothing to build trust on: the
	// checkpoint is not of this chain, as a provider of the first source says, or
	// what was trusted is older than the trust period. A network file with a newer
	// checkpoint helps.
	ErrCheckpoint = errors.New("a trusted checkpoint is needed")

	// ErrClock reports signed heads from the future: this machine's clock is
	// behind, or the validators' are ahead.
	ErrClock = errors.New("the ledger is ahead of this machine's clock")

	// ErrLying reports that a provider gave what is provably false, and that no
	// other gave better. Client.Liars tells who.
	ErrLying = errors.New("provider of the ledger lies")

	// ErrNotInLedger reports what is not in the log of the verified head, or of which
	// that head proves that there is nothing.
	ErrNotInLedger = ledger.ErrNotFound
)

// Transport carries a request to a provider and brings the reply. A reply longer
// than MaxReply is an error. It is called by several goroutines at once.
type Transport interface {
	Call(ctx context.Context, peer, protocol string, req []byte) ([]byte, error)
}

// Checkpoint is a height of the chain that whoever wrote it vouches for.
type Checkpoint struct {
	Height int64       `json:"height"`
	Hash   ledger.Hash `json:"hash"` // of the header
}

// String returns the checkpoint as people paste it: HEIGHT:HASH.
func (p Checkpoint) String() string { return fmt.Sprintf("%d:%s", p.Height, p.Hash) }

// ParseCheckpoint reads what String writes.
func ParseCheckpoint(s string) (Checkpoint, error) {
	height, hash, _ := strings.Cut(s, ":")
	var p Checkpoint
	var err error
	if p.Height, err = strconv.ParseInt(height, 10, 64); err == nil {
		err = p.Hash.UnmarshalText([]byte(hash))
	}
	if err != nil || p.Height < 1 || p.String() != s {
		return Checkpoint{}, fmt.Errorf("%w: checkpoint %q is not HEIGHT:HASH", ledger.ErrMalformed, s)
	}
	return p, nil
}

// Config says which network a client reads, and what it trusts.
type Config struct {
	Genesis ledger.Genesis

	// Checkpoint is what trust begins with, unless Dir knows better. nil: the
	// validators of the genesis, if that is younger than the trust period.
	Checkpoint *Checkpoint

	Dir         string           // where what is trusted is kept; empty: in memory only
	TrustPeriod time.Duration    // 0: TrustPeriod
	Now         func() time.Time // nil: time.Now
	Logger      *slog.Logger     // nil: discard
}

// Client reads the ledger through providers. All methods may be called by any
// number of goroutines.
type Client struct {
	cfg    Config
	via    Transport
	store  store
	logger *slog.Logger

	updating chan struct{} // holds one while an Update is under way
	way      way           // guarded by updating: how far the last one came

	mu      sync.Mutex
	peers   []string         // guarded by mu: the best to ask first
	source  map[string]int   // guarded by mu: of each peer, where its name comes from
	liars   map[string]error // guarded by mu: what each was caught with
	trusted *trusted         // guarded by mu: nil until the first Update; what it points to stays
	forked  error            // guarded by mu: ErrForked once seen
	against [][]byte         // guarded by mu: what that shows against single validators
	told    map[string]bool  // guarded by mu: providers that have this

	sets   map[uint64]seats            // guarded by mu: validator sets that were proven, by number
	nonces map[ledger.PublicKey]nonces // guarded by mu: that Transact signed with, by key
}

// Open returns a client that trusts what cfg says. It asks nobody yet: give it
// providers with SetPeers, and call Update.
func Open(_ context.Context, cfg Config, via Transport) (*Client, error) {
	if err := cfg.Genesis.Validate(); err != nil {
		return nil, fmt.Errorf("open light client: %w", err)
	}
	cfg.TrustPeriod = cmp.Or(cfg.TrustPeriod, TrustPeriod)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Client{
		cfg: cfg, via: via, store: store{cfg.Dir},
		logger:   cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)),
		liars:    make(map[string]error),
		told:     make(map[string]bool),
		updating: make(chan struct{}, 1),
		nonces:   make(map[ledger.PublicKey]nonces),
		sets:     make(map[uint64]seats),
	}
	var err error
	if c.trusted, err = c.store.load(cfg.Genesis.ChainID); err != nil {
		return nil, fmt.Errorf("open light client: %w", err)
	}
	if c.forked, c.against, err = c.store.evidence(); err != nil {
		return nil, fmt.Errorf("open light client: %w", err)
	}
	return c, nil
}

// maxLiars is how many liars are remembered that nobody names at present: names
// are free.
const maxLiars = 1024

// SetPeers says which providers there are now, by where their names come from:
// first the ledger or the network file, then the DHT. Whoever is named twice counts
// with the first. Three or more are wanted, since one alone can keep news back unnoticed;
// and one of each source is asked before a second of any, so that no source alone
// decides who is heard. Those caught lying stay excluded.
func (c *Client) SetPeers(sources ...[]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.source = make(map[string]int)
	var peers []string
	for i, named := range sources {
		for _, p := range named {
			if _, known := c.source[p]; !known {
				c.source[p] = i
				peers = append(peers, p)
			}
		}
	}
	var kept []string // in the order of experience
	for _, p := range c.peers {
		if slices.Contains(peers, p) {
			kept = append(kept, p)
		}
	}
	for _, p := range peers {
		if !slices.Contains(kept, p) && c.liars[p] == nil {
			kept = append(kept, p)
		}
	}
	c.peers = kept
}

// vouched reports whether a provider is one that the ledger or the network file
// names.
func (c *Client) vouched(peer string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	source, named := c.source[peer]
	return named && source == 0
}

// providers returns whom to ask, in this order: the best of each source, the next
// best of each, and so on.
func (c *Client) providers() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	rank := make(map[string]int) // within its source
	count := make(map[int]int)
	for _, p := range c.peers {
		rank[p] = count[c.source[p]]
		count[c.source[p]]++
	}
	out := slices.Clone(c.peers)
	slices.SortStableFunc(out, func(a, b string) int { return rank[a] - rank[b] })
	return out
}

// Liars returns the providers that gave what is provably false, and what. Of those
// who are named no more, some may be forgotten.
func (c *Client) Liars() map[string]error {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]error, len(c.liars))
	for p, err := range c.liars {
		out[p] = err
	}
	return out
}

// Head returns the verified head, and the height whose header commits to it:
// zero before the first Update.
func (c *Client) Head() (ledger.Head, int64) {
	if t := c.base(); t != nil {
		return t.head, t.block.Height
	}
	return ledger.Head{}, 0
}

// Checkpoint returns what is trusted now in the form that a network file takes,
// false before the first Update.
func (c *Client) Checkpoint() (Checkpoint, bool) {
	t := c.base()
	if t == nil {
		return Checkpoint{}, false
	}
	return Checkpoint{t.block.Height, ledger.Hash(t.block.Hash())}, true
}

// trust builds on t from now on; it is on disk before anybody sees it.
func (c *Client) trust(t *trusted) error {
	if t == c.base() {
		return nil
	}
	if err := c.store.save(t); err != nil {
		return fmt.Errorf("keep what is trusted: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trusted = t
	return nil
}

// fork stops the client for good: it must not choose between two chains. The
// two light blocks that show it are kept, and stop it after a restart too; Update
// still hands them on.
func (c *Client) fork(reason error, ours, theirs *types.LightBlock) error {
	err := fmt.Errorf("%w: %w", ErrForked, reason)
	if kept := c.store.keepEvidence(err, ours, theirs); kept != nil {
		c.logger.Error("evidence of a fork not kept", "err", kept)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forked, c.against = err, contradictions(ours, theirs)
	return err
}

func (c *Client) base() *trusted {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trusted
}

// lied excludes a provider for what it did.
func (c *Client) lied(peer string, err error) {
	c.logger.Warn("provider of the ledger lies", "peer", peer, "err", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := range c.liars {
		if len(c.liars) < maxLiars {
			break
		}
		if _, named := c.source[p]; !named {
			delete(c.liars, p)
		}
	}
	c.liars[peer] = err
	c.peers = slices.DeleteFunc(slices.Clone(c.peers), func(p string) bool { return p == peer })
}

// failed puts a provider that did not answer behind the others.
func (c *Client) failed(peer string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.peers, peer); i >= 0 {
		c.peers = append(slices.Delete(slices.Clone(c.peers), i, i+1), peer)
	}
}
