package config

import (
	"fmt"
	"net/netip"
	"time"

	"granary/ledger"
	"granary/ledger/chain"
)

// consensusPort is where validators listen for each other unless told otherwise.
const consensusPort = 4749

// founderCredits lets the founder's publisher key have 1 PiB kept for a year,
// and give others theirs.
const founderCredits = 365 << 50

// Found makes a network whose only validator is h, a home with keys, unlocked, that
// belongs to none yet, and prepares it. It is reachable for others at ip and port.
func (h *Home) Found(chainID string, ip netip.Addr, port int) (*Home, error) {
	founder, err := h.Validator(chainID, "founder", 10)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNetwork, err)
	}
	g := ledger.Genesis{
		ChainID: chainID, Time: time.Now().UTC().Truncate(time.Millisecond), Params: ledger.DefaultParams(),
		Validators: []ledger.Validator{founder},
		Grants:     []ledger.Grant{{Key: h.Public.Publisher, Credits: founderCredits}},
	}
	id, err := h.PeerID()
	if err != nil {
		return nil, err
	}
	if err := g.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNetwork, err)
	}
	kind := "ip4"
	if ip.Is6() {
		kind = "ip6"
	}
	return Init(h.Dir, Network{
		Genesis:   g,
		Bootstrap: []string{fmt.Sprintf("/%s/%s/udp/%d/quic-v1/p2p/%s", kind, ip, port, id)},
		Consensus: []string{chain.NodeID(h.Public.Node) + "@" + netip.AddrPortFrom(ip, consensusPort).String()},
		// Its own machine or network is all that such an address can reach.
		Devnet: ip.IsLoopback() || ip.IsPrivate(),
	})
}
