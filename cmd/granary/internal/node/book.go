package node

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"path/filepath"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"granary/ledger"
	"granary/ledger/chain"
	"granary/ledger/light"
	"granary/sampling/kad"
)

// Validator is what makes a node one of those who run the chain.
type Validator struct {
	Consensus ed25519.PrivateKey // signs blocks of the chain; nil: Signer does
	Signer    *chain.Signer      // a process of its own that has the key; nil: Consensus
	Port      int                // for the other validators; 0: any free one
	Peers     []string           // the others: id@ip:port
}

// key is the public half of the consensus key.
func (v Validator) key() ledger.PublicKey {
	if v.Signer != nil {
		return v.Signer.Key
	}
	return ledger.KeyOf(v.Consensus)
}

// The ledger's protocols as the host carries them.
var (
	lightService = kad.Service{Protocol: light.Protocol, MaxRequest: light.MaxRequest, MaxReply: light.MaxReply, Tokens: 4}
	txService    = kad.Service{Protocol: light.TxProtocol, MaxRequest: light.MaxRequest, MaxReply: 1 << 10, Tokens: 4}
)

// openLedger opens the chain of a validator and the light client through
// which every node, validators too, reads the ledger.
func (n *Node) openLedger(ctx context.Context) error {
	var err error
	if v := n.cfg.Validator; v != nil {
		n.chain, err = chain.Open(ctx, chain.Config{
			Dir: filepath.Join(n.cfg.Dir, "ledger", "chain"), Genesis: n.cfg.Genesis,
			Key: v.Consensus, Signer: v.Signer, NodeKey: n.cfg.Identity, IP: n.cfg.IP, Port: v.Port, Peers: v.Peers,
			Devnet: n.cfg.Devnet, Logger: n.log,
		})
		if err != nil {
			return err
		}
		n.share = n.kept
		n.host.Serve(lightService, func(_ context.Context, _ peer.ID, req []byte) []byte {
			return light.Serve(n.chain, req)
		})
		n.host.Serve(txService, func(ctx context.Context, _ peer.ID, raw []byte) []byte {
			return light.ServeTx(ctx, n.chain, raw)
		})
	}
	n.light, err = light.Open(ctx, light.Config{
		Genesis: n.cfg.Genesis, Checkpoint: n.cfg.Checkpoint,
		Dir: filepath.Join(n.cfg.Dir, "ledger", "light"), Logger: n.log,
	}, carrier{n})
	if err != nil {
		return err
	}
	n.namePeers()
	return nil
}

// meet learns who the validators are now, if the log has grown to size, and at
// most once per heartbeat.
func (n *Node) meet(ctx context.Context, size uint64) {
	n.mu.Lock()
	met := size <= n.met.size || time.Since(n.met.at) < n.cfg.Genesis.Params.Heartbeat
	n.mu.Unlock()
	if met {
		return
	}
	set, err := n.presentSet(ctx)
	if err != nil {
		if ctx.Err() == nil {
			n.log.Debug("validators not learnt", "err", err)
		}
		return
	}
	former, err := n.light.Former(ctx, formerChanges)
	if err != nil && ctx.Err() == nil {
		n.log.Debug("former validators not learnt", "err", err)
	}
	n.mu.Lock()
	n.met.set, n.met.size, n.met.at = set, size, time.Now()
	if err == nil {
		n.met.former = former[:min(len(former), maxFormer)]
	}
	n.mu.Unlock()
	n.namePeers()
}

// validators are the peers of the validators, as far as we have met them: of the
// genesis before.
func (n *Node) validators() []peer.ID {
	n.mu.Lock()
	set := n.met.set
	n.mu.Unlock()
	if set == nil {
		set = n.cfg.Genesis.Validators
	}
	return n.peersOf(set)
}

const (
	// formerChanges is at how many changes of the validators we look for those who
	// have left, and maxFormer how many of these are asked for blocks.
	formerChanges = 16
	maxFormer     = 32
)

// keepers are the peers who may hold pieces by the ledger's word: the validators,
// then those who were, and owe what they attested until its keep ends.
func (n *Node) keepers() []peer.ID {
	n.mu.Lock()
	former := n.met.former
	n.mu.Unlock()
	return append(n.validators(), n.peersOf(former)...)
}

func (n *Node) peersOf(set []ledger.Validator) []peer.ID {
	var all []peer.ID
	for _, v := range set {
		if p, err := peer.IDFromBytes(v.Peer); err == nil && p != n.host.ID() {
			all = append(all, p)
		}
	}
	return all
}

// carrier brings the light client's requests to their providers: to our own
// chain without a detour.
type carrier struct{ n *Node }

// Call implements light.Transport.
func (c carrier) Call(ctx context.Context, to, protocol string, req []byte) ([]byte, error) {
	id, err := peer.Decode(to)
	if err != nil {
		return nil, fmt.Errorf("provider %q: %w", to, err)
	}
	own := c.n.chain != nil && id == c.n.host.ID()
	switch {
	case own && protocol == light.TxProtocol:
		return light.ServeTx(ctx, c.n.chain, req), nil
	case own:
		return light.Serve(c.n.chain, req), nil
	case protocol == light.TxProtocol:
		return c.n.host.Call(ctx, id, txService, req)
	}
	return c.n.host.Call(ctx, id, lightService, req)
}
