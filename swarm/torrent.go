package swarm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	g "github.com/anacrolix/generics"
	"github.com/anacrolix/torrent"
	infohash_v2 "github.com/anacrolix/torrent/types/infohash-v2"

	"granary/erasure"
)

// Torrent is one block in the swarm. It is safe for concurrent use.
type Torrent struct {
	swarm  *Swarm
	id     erasure.ID
	geo    erasure.Geometry
	block  Block
	handle *torrent.Torrent // the engine's

	using    sync.RWMutex // read-held while the block's bytes are read, written or committed
	released bool         // guarded by using

	anyway atomic.Int64 // ServeAnyway not yet done; changes with swarm.serving held

	used   time.Time // guarded by swarm.mu: when somebody last was at it, see rest
	called bool      // guarded by swarm.mu: only peers asked for it, see callUp

	salt uint64 // makes our order of asking differ from others'

	applying sync.Mutex              // held, above the engine's lock, while priorities are set; guards what follows
	urgency  []torrent.PiecePriority // what each piece has when it is wanted; 0: normal
	asking   []torrent.PiecePriority // what the engine was told

	mu         sync.Mutex // innermost; guards what follows
	ended      bool
	jobs       map[*job]struct{}
	wanted     erasure.PieceSet  // what the engine was told to ask for
	moved      map[int]time.Time // wanted pieces: when last something of them arrived
	begun      erasure.PieceSet  // something of it arrived since it last hashed wrong
	stuck      erasure.PieceSet  // see findStuck
	committing erasure.PieceSet
	refused    erasure.PieceSet
	refusal    error // why the last of them was
	peers      map[*torrent.PeerConn]*peer
	crowd      bool // some of them fetch the same
	share      int  // rows wanted, divided by peers that send
	addrs      map[netip.AddrPort]*address
	spoilt     int64 // bytes in pieces that hashed wrong, or were refused
}

func newTorrent(s *Swarm, id erasure.ID, geo erasure.Geometry, b Block) *Torrent {
	set := func() erasure.PieceSet { return erasure.NewPieceSet(geo.Pieces()) }
	return &Torrent{
		swarm: s, id: id, geo: geo, block: b, salt: rand.Uint64(),
		urgency: make([]torrent.PiecePriority, geo.Pieces()),
		asking:  make([]torrent.PiecePriority, geo.Pieces()),
		jobs:    map[*job]struct{}{},
		wanted:  set(), begun: set(), stuck: set(), committing: set(), refused: set(),
		moved: map[int]time.Time{},
		peers: map[*torrent.PeerConn]*peer{},
		addrs: map[netip.AddrPort]*address{},
	}
}

// open adds the torrent to the engine. The info dictionary is given as bytes,
// never marshalled again, and the piece layers with it: the engine could only
// ask them of peers that have a whole file, and never for the second of two
// files with the same root.
func (t *Torrent) open(b erasure.Bundle) error {
	handle, isNew := t.swarm.client.AddTorrentOpt(torrent.AddTorrentOpts{
		// InfoHash stays zero: the engine panics if it is set for a v2-only torrent.
		InfoHashV2:               g.Some(infohash_v2.T(t.id)),
		InfoBytes:                b.Info.Encode(),
		PieceLayers:              pieceLayers(b),
		Storage:                  store{t},
		DisableInitialPieceCheck: true,
	})
	if !isNew {
		return errors.New("another torrent has the same short hash")
	}
	select {
	case <-handle.GotInfo():
	default:
		// The engine drops this error.
		handle.Drop()
		return errors.New("engine refused the info dictionary or the piece layers")
	}
	// The default handler stops all downloading for good; ours is in WriteAt.
	handle.SetOnWriteChunkError(func(error) {})
	t.handle = handle
	return nil
}

// pieceLayers is the "piece layers" dictionary of BEP 52: files of one piece
// have no entry, and two files with the same root share one.
func pieceLayers(b erasure.Bundle) map[string]string {
	layers := map[string]string{}
	if b.Info.Geometry().FilePieces() > 1 {
		layers[string(b.Info.Content[:])] = concat(b.Layers.Content)
		layers[string(b.Info.Parity[:])] = concat(b.Layers.Parity)
	}
	return layers
}

func concat(roots []erasure.Root) string {
	b := make([]byte, 0, len(roots)*len(erasure.Root{}))
	for _, root := range roots {
		b = append(b, root[:]...)
	}
	return string(b)
}

// ID returns the block's ID.
func (t *Torrent) ID() erasure.ID { return t.id }

// end makes every fetch return ErrClosed, those to come too.
func (t *Torrent) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.failLocked(ErrClosed)
}

// Refresh reads anew which pieces the block holds, announces those that came
// (by recovery, say), and stops serving those that went. BitTorrent cannot
// take an announcement back: if pieces went, connections are closed, and
// peers that return are told the truth.
func (t *Torrent) Refresh() {
	lost := false
	for p := range t.geo.Pieces() {
		was := t.handle.PieceState(p).Complete
		if is := t.block.Has(p) || t.isCommitting(p); is != was {
			t.handle.Piece(p).UpdateCompletion()
			lost = lost || was
		}
	}
	if lost {
		for _, pc := range t.handle.PeerConns() {
			_ = pc.Close()
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for j := range t.jobs {
		j.wakeUp()
	}
}

// Status is a snapshot of one torrent.
type Status struct {
	Rows, Need int              // rows in held pieces, and how many make the block
	Peers      int              // connected
	PeerAddrs  []netip.AddrPort // their addresses; an incoming peer's port is not the one it listens on
	Available  erasure.PieceSet // pieces some connected peer has, our own excluded

	// Payload bytes since the torrent was added: rows received, rows sent, and
	// of those received the ones that were wrong, or came twice.
	Read, Written, Wasted int64
}

// Status returns the present state; the caller owns its slice and set.
func (t *Torrent) Status() Status {
	st := Status{Rows: t.rows(), Need: t.geo.K(), Available: erasure.NewPieceSet(t.geo.Pieces())}
	for _, o := range t.offers() {
		st.Peers++
		st.PeerAddrs = append(st.PeerAddrs, o.peer.addr)
		st.Available.Union(o.has)
	}
	stats := t.handle.Stats()
	st.Read = stats.BytesReadData.Int64()
	st.Written = stats.BytesWrittenData.Int64()
	t.mu.Lock()
	st.Wasted = st.Read - stats.BytesReadUsefulData.Int64() + t.spoilt
	t.mu.Unlock()
	return st
}

// rows counts the rows in held pieces.
func (t *Torrent) rows() int { return rowsOf(t.geo, t.block) }

func rowsOf(geo erasure.Geometry, b Block) int {
	n := 0
	for p := range geo.Pieces() {
		if b.Has(p) {
			_, count := geo.PieceSpan(p)
			n += count
		}
	}
	return n
}

// held is what is held or about to be.
func (t *Torrent) held() erasure.PieceSet {
	held := erasure.NewPieceSet(t.geo.Pieces())
	for p := range t.geo.Pieces() {
		if t.block.Has(p) {
			held.Add(p)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	held.Union(t.committing)
	return held
}

func (t *Torrent) pieceBytes(piece int) int64 {
	_, count := t.geo.PieceSpan(piece)
	return int64(count) * erasure.RowSize
}

func (t *Torrent) String() string { return fmt.Sprintf("torrent %s", t.id.Short()) }
