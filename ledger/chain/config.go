package chain

import (
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cometbft/cometbft/config"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/p2p"

	"granary/ledger"
)

// Config says which chain a node runs, as whom, and where.
type Config struct {
	Dir     string             // everything on disk: the state, the engine's stores, the last signature
	Genesis ledger.Genesis     // must be the same on all nodes
	Key     ed25519.PrivateKey // consensus key of a validator; nil: a full node, or Signer has it
	Signer  *Signer            // who has the consensus key of a validator; nil: Key
	NodeKey ed25519.PrivateKey // identity on the consensus port; another key than Key
	IP      netip.Addr         // to listen on; zero: all addresses
	Port    int                // 0: any free one, which PeerAddress tells
	Peers   []string           // nodes to stay connected to, as PeerAddress gives them: id@ip:port

	// Devnet lets many nodes share one address and keeps them from looking for
	// others than Peers.
	Devnet bool

	Now    func() time.Time // this machine's clock; nil: time.Now
	Logger *slog.Logger     // nil: discard
}

// NodeID is what a node with this key is called on the consensus port: the id
// of id@ip:port, 40 hex digits.
func NodeID(key ledger.PublicKey) string {
	return string(p2p.PubKeyToID(cmted25519.PubKey(key[:])))
}

// Times of the engine that are not parameters of the network. A proposal that
// does not come is waited for longest: it costs a round. Those of a round grow
// by half with each that fails, as in CometBFT.
const (
	timeoutPropose = time.Second
	timeoutVote    = 500 * time.Millisecond

	// timeoutCommit is how long a proposer waits for the votes of the last
	// validators. It bounds the rate of blocks, and has no part in the time of a
	// transaction that comes to an idle chain.
	timeoutCommit = 200 * time.Millisecond

	// gossipSleep is how often a node looks what a peer lacks: 100 ms, CometBFT's
	// own, is paid several times in every height (docs/design/0005-chain.md).
	gossipSleep = 20 * time.Millisecond

	// maxBlock bounds a height's transactions in bytes: 256 of the longest.
	maxBlock = 1 << 20

	// maxWaiting is how many transactions a node holds that no height took yet.
	maxWaiting = 4096
)

// engineConfig is CometBFT's configuration: what it would read from a file.
func engineConfig(cfg Config, port int) *config.Config {
	c := config.DefaultConfig()
	c.SetRoot(cfg.Dir)
	c.Moniker = "granary"
	c.TxIndex.Indexer = "null"
	c.Storage.DiscardABCIResponses = true
	c.RPC.ListenAddress = ""
	c.RPC.GRPCListenAddress = ""
	c.RPC.PprofListenAddress = ""
	c.Instrumentation.Prometheus = false

	ip := "0.0.0.0"
	if cfg.IP.IsValid() {
		ip = cfg.IP.Unmap().String()
	}
	c.P2P.ListenAddress = "tcp://" + net.JoinHostPort(ip, strconv.Itoa(port))
	c.P2P.AddrBook = "addrbook.json"
	c.P2P.PexReactor = !cfg.Devnet
	c.P2P.AddrBookStrict = !cfg.Devnet
	c.P2P.AllowDuplicateIP = cfg.Devnet
	c.P2P.UnconditionalPeerIDs = strings.Join(peerIDs(cfg.Peers), ",")

	c.Mempool.Size = maxWaiting
	c.Mempool.MaxTxBytes = ledger.MaxTx
	c.Mempool.MaxTxsBytes = maxWaiting * ledger.MaxTx

	c.Consensus.WalPath = filepath.Join("data", "cs.wal", "wal")
	c.Consensus.TimeoutPropose, c.Consensus.TimeoutProposeDelta = timeoutPropose, timeoutPropose/2
	c.Consensus.TimeoutPrevote, c.Consensus.TimeoutPrevoteDelta = timeoutVote, timeoutVote/2
	c.Consensus.TimeoutPrecommit, c.Consensus.TimeoutPrecommitDelta = timeoutVote, timeoutVote/2
	c.Consensus.TimeoutCommit = timeoutCommit
	c.Consensus.PeerGossipSleepDuration = gossipSleep
	c.Consensus.CreateEmptyBlocks = false
	// The engine counts from when it is ready for a height, and needs a moment for
	// it: what the network was promised is the time from block to block.
	heartbeat := cfg.Genesis.Params.Heartbeat
	c.Consensus.CreateEmptyBlocksInterval = max(heartbeat-2*timeoutCommit, heartbeat/2)
	return c
}

// checkConfig returns what is wrong with cfg.
func checkConfig(cfg Config) error {
	if err := cfg.Genesis.Validate(); err != nil {
		return err
	}
	if cfg.Key != nil && len(cfg.Key) != ed25519.PrivateKeySize {
		return fmt.Errorf("consensus key of %d bytes", len(cfg.Key))
	}
	if cfg.Key != nil && cfg.Signer != nil {
		return fmt.Errorf("the consensus key is here, and a signer is to have it: keep it in one place")
	}
	if cfg.Signer != nil && cfg.Signer.Address == "" {
		return fmt.Errorf("only the public half of the consensus key is here, and no address of a signer that has it")
	}
	if len(cfg.NodeKey) != ed25519.PrivateKeySize {
		return fmt.Errorf("node key of %d bytes", len(cfg.NodeKey))
	}
	if slices.Equal(cfg.Key, cfg.NodeKey) {
		return fmt.Errorf("node key and consensus key are the same")
	}
	_, err := parsePeers(cfg.Peers)
	return err
}

// parsePeers reads id@ip:port. Names are not resolved: a network file that says
// where validators are says it in numbers.
func parsePeers(peers []string) ([]*p2p.NetAddress, error) {
	var addrs []*p2p.NetAddress
	for _, s := range peers {
		_, hostPort, _ := strings.Cut(s, "@")
		if _, err := netip.ParseAddrPort(hostPort); err != nil {
			return nil, fmt.Errorf("consensus peer %q: want id@ip:port", s)
		}
		addr, err := p2p.NewNetAddressString(s)
		if err != nil {
			return nil, fmt.Errorf("consensus peer %q: %w", s, err)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

func peerIDs(peers []string) []string {
	var ids []string
	for _, s := range peers {
		id, _, _ := strings.Cut(s, "@")
		ids = append(ids, id)
	}
	return ids
}
