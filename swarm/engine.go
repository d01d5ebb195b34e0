package swarm

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"
	pp "github.com/anacrolix/torrent/peer_protocol"
	"github.com/anacrolix/torrent/storage"
	"golang.org/x/time/rate"
)

const (
	peerIDPrefix  = "-GY0100-" // BEP 20
	clientVersion = "granary"  // BEP 10, "v"
)

// engineConfig turns off every way by which the engine finds peers or follows
// addresses on its own. It opens no socket itself: gate does.
func (s *Swarm) engineConfig() *torrent.ClientConfig {
	c := torrent.NewDefaultClientConfig()
	c.DisableTCP, c.DialForPeerConns = true, false // its own sockets; ours is gate
	c.DisableUTP = true
	c.NoDHT, c.PeriodicallyAnnounceTorrentsToDht = true, false
	c.DisableTrackers, c.DisablePEX = true, true
	c.DisableWebtorrent, c.DisableWebseeds = true, true
	c.NoDefaultPortForwarding = true
	c.AlwaysWantConns = true // gate counts them; a torrent that stands by is not in the engine yet
	c.DefaultStorage = noStorage{}
	c.Seed = true
	c.Bep20, c.ExtendedHandshakeClientVersion = peerIDPrefix, clientVersion
	c.Extensions = pp.NewPeerExtensionBytes(pp.ExtensionBitLtep, pp.ExtensionBitFast)
	// Plain handshakes first: rows are public and checked by hash, and
	// obfuscation costs a key exchange and half of the throughput. A peer that
	// insists on it is tried again with it, and may come in with it.
	c.HeaderObfuscationPolicy = torrent.HeaderObfuscationPolicy{}
	// A request that is moved to another peer is mostly answered by both: with
	// the engine's own grace of milliseconds, a fetch from four peers read 3 to
	// 11 % too much.
	c.StealRequestGrace = patience
	c.PieceHashersPerTorrent = runtime.NumCPU()
	c.NominalDialTimeout = 10 * time.Second
	c.DialRateLimiter = rate.NewLimiter(40, 40)
	// The engine's limiters see payload alone; gate has the real ones. It also
	// holds dials back, which would otherwise time out while they wait there.
	c.TotalHalfOpenConns = s.cfg.MaxDials
	c.Slogger = slog.New(quiet{s.log.Handler()})
	c.Callbacks = s.callbacks()
	return c
}

// extensions are what we offer by BEP 10: ut_metadata alone. The engine would
// offer ut_holepunch too, by which any peer can make us dial any address.
var extensions = torrent.LocalLtepProtocolMap{Index: []pp.ExtensionName{pp.ExtensionNameMetadata}, NumBuiltin: 1}

// callbacks tell the Torrent concerned what its connections do. They run under
// the engine's lock, but for the first two.
func (s *Swarm) callbacks() torrent.Callbacks {
	return torrent.Callbacks{
		ReceiveEncryptedHandshakeSkeys: s.secretKeys,
		CompletedHandshake:             func(_ *torrent.PeerConn, hash metainfo.Hash) { s.callUp(hash) },
		PeerConnAdded: []func(*torrent.PeerConn){func(pc *torrent.PeerConn) {
			pc.LocalLtepProtocolMap = &torrent.LocalLtepProtocolMap{Index: extensions.Index, NumBuiltin: extensions.NumBuiltin}
			if t := s.torrentOf(&pc.Peer); t != nil {
				flatten(pc.Torrent(), t.geo)
				t.peerCame(pc)
			}
		}},
		PeerConnClosed: func(pc *torrent.PeerConn) {
			s.bans.stale.Store(true)
			if t := s.torrentOf(&pc.Peer); t != nil {
				t.peerLeft(pc)
			}
		},
		ReadExtendedHandshake: func(pc *torrent.PeerConn, d *pp.ExtendedHandshakeMessage) {
			delete(d.M, "ut_holepunch") // not to be asked to introduce us either
			if t := s.torrentOf(&pc.Peer); t != nil {
				d.Reqq = t.peerSays(pc, d.Port, d.Reqq)
			}
		},
		ReadMessage: func(pc *torrent.PeerConn, msg *pp.Message) {
			if msg.Keepalive {
				return
			}
			switch msg.Type {
			case pp.Choke, pp.Unchoke:
				if t := s.torrentOf(&pc.Peer); t != nil {
					t.peerChoked(pc, msg.Type == pp.Choke)
				}
			case pp.Have:
				if t := s.torrentOf(&pc.Peer); t != nil {
					t.peerGrew(pc)
				}
			}
		},
		SentRequest: []func(torrent.PeerRequestEvent){func(e torrent.PeerRequestEvent) {
			if t := s.torrentOf(e.Peer); t != nil {
				t.asked(e.Peer, int(e.Index), 1)
			}
		}},
		DeletedRequest: []func(torrent.PeerRequestEvent){func(e torrent.PeerRequestEvent) {
			if t := s.torrentOf(e.Peer); t != nil {
				t.asked(e.Peer, int(e.Index), -1)
			}
		}},
		ReceivedUsefulData: []func(torrent.ReceivedUsefulDataEvent){func(e torrent.ReceivedUsefulDataEvent) {
			if t := s.torrentOf(e.Peer); t != nil {
				t.received(e.Peer, int(e.Message.Index))
			}
		}},
	}
}

// torrentOf returns the Torrent p talks about; nil before its handshake.
func (s *Swarm) torrentOf(p *torrent.Peer) *Torrent {
	handle := p.Torrent()
	if handle == nil {
		return nil
	}
	t, ok := s.byHash.Load(handle.InfoHash())
	if !ok {
		return nil
	}
	return t.(*Torrent)
}

// noStorage refuses: every torrent is added with its own block.
type noStorage struct{}

func (noStorage) OpenTorrent(context.Context, *metainfo.Info, metainfo.Hash) (storage.TorrentImpl, error) {
	return storage.TorrentImpl{}, ErrClosed
}

// quiet hands the engine's records on at debug level: what it calls an error
// is a stranger's behaviour. It swallows errors, on which the engine panics.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, _ slog.Level) bool {
	return q.Handler.Enabled(ctx, slog.LevelDebug)
}

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	_ = q.Handler.Handle(ctx, r)
	return nil
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }
func (q quiet) WithGroup(name string) slog.Handler       { return quiet{q.Handler.WithGroup(name)} }
