package kad

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/provider"
	dhtrecords "github.com/libp2p/go-libp2p-kad-dht/records"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	mh "github.com/multiformats/go-multihash"

	"granary/erasure"
	"granary/sampling"
)

const (
	// A provider record is forgotten after recordValidity, so it is renewed
	// twice within it, with room for one renewal to fail.
	recordValidity  = 24 * time.Hour
	renewInterval   = 11 * time.Hour
	recordAddrValid = 12 * time.Hour

	// lookupWidth is how many servers one lookup asks at once. With kad-dht's 10
	// many answers came when they were no longer needed.
	lookupWidth = 5

	// firstSettle is how soon standing keys are provided for a second time: see
	// standing.settle.
	firstSettle = 5 * time.Second
)

func newDHT(h host.Host, cfg Config) (*dht.IpfsDHT, error) {
	opts := []dht.Option{
		dht.ProtocolPrefix("/granary"),
		dht.DisableValues(),
		dht.Concurrency(lookupWidth),
		dht.ProviderDatastore(newRecords()),
		dht.ProviderManagerOpts(dhtrecords.ProvideValidity(recordValidity), dhtrecords.ProviderAddrTTL(recordAddrValid),
			dhtrecords.Cache(uncached{})),
	}
	switch {
	case cfg.Client:
		// Nobody asks a client for the way, so that its own lookups fill its
		// table well enough: searching for peers to fill it, and trying every peer
		// it meets, reads hundreds of KiB in the first half minute.
		opts = append(opts, dht.Mode(dht.ModeClient), dht.DisableAutoRefresh(), dht.LookupCheckConcurrency(2))
	case cfg.Devnet:
		opts = append(opts, dht.Mode(dht.ModeServer))
	default:
		// Whether we can be dialled is known once others have tried. ModeAuto
		// would wait for that, and a young network has nobody to try.
		opts = append(opts, dht.Mode(dht.ModeAutoServer))
	}
	if !cfg.Devnet {
		opts = append(opts,
			dht.QueryFilter(dht.PublicQueryFilter),
			dht.RoutingTableFilter(dht.PublicRoutingTableFilter),
			dht.AddressFilter(func(addrs []ma.Multiaddr) []ma.Multiaddr {
				return ma.FilterAddrs(addrs, manet.IsPublicAddr)
			}),
			// At most 3 peers of one IP group in the table, 2 in one bucket:
			// without this one rented machine can fill it.
			dht.RoutingTablePeerDiversityFilter(dht.NewRTPeerDiversityFilter(h, 2, 3)))
	}
	d, err := dht.New(h, opts...)
	if err != nil {
		return nil, fmt.Errorf("DHT: %w", err)
	}
	return d, nil
}

// groupKey is the DHT key under which custodians of group g stand.
func groupKey(chain string, g int) mh.Multihash {
	return dhtKey("granary/dht/group/v1", chain, []byte{byte(g)})
}

// blockKey is the DHT key under which those stand who hold pieces of a block
// off the rule.
func blockKey(chain string, id erasure.ID) mh.Multihash {
	return dhtKey("granary/dht/block/v1", chain, id[:])
}

func dhtKey(domain, chain string, rest []byte) mh.Multihash {
	msg := append([]byte(domain), byte(len(chain)))
	msg = append(msg, chain...)
	sum := sha256.Sum256(append(msg, rest...))
	key, err := mh.Encode(sum[:], mh.SHA2_256)
	if err != nil {
		panic(fmt.Sprintf("BUG: multihash of %d bytes: %v", len(sum), err))
	}
	return key
}

func keyCID(key mh.Multihash) cid.Cid { return cid.NewCidV1(cid.Raw, key) }

// standing keeps the node's provider records in the DHT: group keys and block
// keys, provided as soon as the node is online and renewed by sweeping through
// the key space, so that thousands of keys cost little more than a few.
//
// A record is also kept by the node itself, from the first moment. In a network
// of up to 20 nodes every lookup asks every node, so there a key is found as
// soon as two nodes know each other, and no record is lost to a node that
// stood alone when it provided.
type standing struct {
	host host.Host
	dht  *dht.IpfsDHT
	ctx  context.Context
	stop context.CancelFunc

	mu     sync.Mutex // guards what follows
	sweep  *provider.SweepingProvider
	groups []mh.Multihash
	ledger []mh.Multihash // the ledger's key, if we answer for it
	chain  string
	closed bool
}

func newStanding(h host.Host, d *dht.IpfsDHT, cfg Config) *standing {
	s := &standing{host: h, dht: d, chain: cfg.Chain}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// provideGroups provides the keys of the groups from now on.
func (s *standing) provideGroups(groups sampling.GroupSet) error {
	var keys []mh.Multihash
	for g := range groups.All() {
		keys = append(keys, groupKey(s.chain, g))
	}
	s.mu.Lock()
	s.groups = keys
	s.mu.Unlock()
	return s.provide(keys)
}

// withdrawGroups undoes provideGroups.
func (s *standing) withdrawGroups() error {
	s.mu.Lock()
	keys := s.groups
	s.groups = nil
	s.mu.Unlock()
	var errs []error
	for _, key := range keys {
		errs = append(errs, s.withdraw(key))
	}
	return errors.Join(errs...)
}

// provide keeps keys provided until withdrawn.
func (s *standing) provide(keys []mh.Multihash) error {
	if len(keys) == 0 {
		return nil
	}
	sweep, err := s.sweeper()
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := s.provideLocally(s.ctx, key); err != nil {
			return fmt.Errorf("provide: %w", err)
		}
	}
	// Offline, the sweeper still stores the keys and provides them when it
	// comes online; its ProvideOnce would drop them.
	return sweep.StartProviding(false, keys...)
}

// withdraw ends the renewal of a key; the records out there fade.
func (s *standing) withdraw(key mh.Multihash) error {
	s.mu.Lock()
	sweep := s.sweep
	s.mu.Unlock()
	if sweep == nil {
		return nil
	}
	return sweep.StopProviding(key)
}

func (s *standing) provideLocally(ctx context.Context, key mh.Multihash) error {
	return s.dht.ProviderStore().AddProvider(ctx, key, peer.AddrInfo{ID: s.host.ID()})
}

// sweeper returns the sweeping provider. It begins to probe the network when it
// is made, so nodes that provide nothing have none.
func (s *standing) sweeper() (*provider.SweepingProvider, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.sweep != nil {
		return s.sweep, nil
	}
	sweep, err := provider.New(
		provider.WithHost(s.host),
		provider.WithRouter(s.dht),
		provider.WithMessageSender(s.dht.MessageSender()),
		// Unfiltered: with no address the sweeper would silently skip a round.
		provider.WithSelfAddrs(s.host.Addrs),
		provider.WithAddLocalRecord(s.provideLocally),
		provider.WithReprovideInterval(renewInterval),
		provider.WithSendProviderRecordTimeout(lookupTimeout),
	)
	if err != nil {
		return nil, fmt.Errorf("DHT provider: %w", err)
	}
	s.sweep = sweep
	return sweep, nil
}

// settle provides the standing keys again and again, at intervals that double up
// to renewInterval, until ctx ends. A node that joins a growing network gives
// its records to the closest of the few peers it can see then; without this,
// lookups in the larger network would miss it for hours. It begins anew when
// the node's own addresses change: records carry those, and a node behind a
// router learns only later which they are, and of a relay.
func (s *standing) settle(ctx context.Context) {
	var changed <-chan any
	if sub, err := s.host.EventBus().Subscribe(new(event.EvtLocalAddressesUpdated)); err == nil {
		defer sub.Close()
		changed = sub.Out()
	}
	wait := firstSettle
	due := time.Now().Add(wait)
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			// Sooner, never later: addresses that change all the time must not put
			// it off for ever.
			wait = firstSettle
			if soon := time.Now().Add(wait); soon.Before(due) {
				due = soon
			}
			continue
		case <-time.After(time.Until(due)):
		}
		last := wait
		wait = min(2*wait, renewInterval)
		due = time.Now().Add(wait)
		s.mu.Lock()
		sweep, keys := s.sweep, slices.Concat(s.groups, s.ledger)
		s.mu.Unlock()
		if sweep == nil || len(keys) == 0 || last == renewInterval {
			continue // not shown now, or left to the sweeper
		}
		if err := sweep.ProvideOnce(keys...); err != nil {
			return // closed
		}
	}
}

func (s *standing) close() error {
	s.mu.Lock()
	s.closed = true
	sweep := s.sweep
	s.mu.Unlock()
	s.stop()
	if sweep == nil {
		return nil
	}
	if err := sweep.Close(); err != nil {
		return fmt.Errorf("close DHT provider: %w", err)
	}
	return nil
}

// ShowCustody says whether a custodian is to be found as one, as it is at first:
// by its groups' keys in the DHT, and by its hello. It does nothing on a node
// that is no custodian.
func (h *Host) ShowCustody(on bool) error {
	if !h.cfg.Custodian || h.hidden.Swap(!on) == !on {
		return nil
	}
	if on {
		return h.keys.provideGroups(h.Groups())
	}
	return h.keys.withdrawGroups()
}

// ProvideBlock makes the node findable under the block's own key until
// StopProvidingBlock. It is for blocks held off the custody rule, whole ones
// above all; the record spreads in the background. Repeating it costs nothing.
func (h *Host) ProvideBlock(id erasure.ID) {
	if err := h.keys.provide([]mh.Multihash{blockKey(h.cfg.Chain, id)}); err != nil {
		h.log.Warn("block not provided", "block", id.Short(), "err", err)
	}
}

// StopProvidingBlock undoes ProvideBlock. Records that others keep fade within
// a day; a peer that follows one until then is told that nothing is held.
func (h *Host) StopProvidingBlock(id erasure.ID) {
	if err := h.keys.withdraw(blockKey(h.cfg.Chain, id)); err != nil {
		h.log.Warn("block not withdrawn", "block", id.Short(), "err", err)
	}
}
