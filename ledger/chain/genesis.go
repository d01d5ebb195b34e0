package chain

import (
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/types"

	"granary/ledger"
)

// evidenceAge is for how long a validator can be shown to have signed twice:
// as long as light nodes trust a head, and removed validators guard their keys.
const evidenceAge = 180 * 24 * time.Hour

// GenesisDoc is CometBFT's form of a genesis, which must be valid. It follows
// from g alone, so all nodes of a network compute the same; the light client
// takes the first validators from it.
func GenesisDoc(g ledger.Genesis) *types.GenesisDoc {
	params := types.DefaultConsensusParams()
	params.Block.MaxBytes = maxBlock
	params.Block.MaxGas = -1
	params.Evidence.MaxAgeDuration = evidenceAge
	params.Evidence.MaxAgeNumBlocks = int64(evidenceAge / g.Params.Heartbeat)
	params.Evidence.MaxBytes = maxBlock / 16
	params.Version.App = appVersion
	doc := &types.GenesisDoc{
		ChainID:         g.ChainID,
		GenesisTime:     g.Time.UTC(),
		InitialHeight:   1,
		ConsensusParams: params,
	}
	for _, v := range g.Validators {
		key := cmted25519.PubKey(v.Consensus[:])
		doc.Validators = append(doc.Validators, types.GenesisValidator{
			Address: key.Address(), PubKey: key, Power: v.Power, Name: v.Name,
		})
	}
	return doc
}
