package chain

import (
	"context"
	"errors"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/evidence"
	"github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/types"
	"go.etcd.io/bbolt"

	"granary/ledger"
)

// OpenWith is Open for a node that decides and signs by what a test makes of the
// honest parts. nil leaves one as it is. It passes no evidence on: the engine
// copies a reactor to do so, atomics and all, which the race detector finds when
// the node stops.
func OpenWith(ctx context.Context, cfg Config, decide func(abci.Application) abci.Application, sign func(types.PrivValidator) types.PrivValidator) (*Chain, error) {
	c, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	var a abci.Application = c.application()
	if decide != nil {
		a = decide(a)
	}
	signer, err := openSigner(cfg)
	if err == nil && sign != nil {
		signer = sign(signer)
	}
	if err == nil {
		err = c.assemble(ctx, a, signer)
	}
	if err == nil {
		sw := c.node.Switch()
		r, _ := sw.Reactor("EVIDENCE")
		sw.RemoveReactor("EVIDENCE", r)
		sw.AddReactor("EVIDENCE", silent{r.(*evidence.Reactor)})
		err = c.run()
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// silent takes evidence, and gives none.
type silent struct{ *evidence.Reactor }

func (silent) AddPeer(p2p.Peer) {}

// Engine is what runs below the chain.
func (c *Chain) Engine() *node.Node { return c.node }

// NewApplication returns what decides, over a store of its own that the caller
// closes. decided is called with each height that is committed.
func NewApplication(path string, g ledger.Genesis, decided func(height int64, judged bool)) (abci.Application, *bbolt.DB, error) {
	db, err := openStore(path, g)
	return &app{db: db, commits: newSignal(), halted: func(error) {}, decided: decided}, db, err
}

// Credible is the height that the chain has by what peers say.
var Credible = credible

// Halt makes the node give up.
func (c *Chain) Halt(reason error) { c.halt(reason) }
