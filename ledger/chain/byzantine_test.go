package chain_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/consensus"
	"github.com/cometbft/cometbft/crypto/tmhash"
	"github.com/cometbft/cometbft/mempool"
	"github.com/cometbft/cometbft/p2p"
	cmtcons "github.com/cometbft/cometbft/proto/tendermint/consensus"
	protomem "github.com/cometbft/cometbft/proto/tendermint/mempool"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"

	"granary/ledger"
	"granary/ledger/chain"
	"granary/ledger/light"
)

// openByzantine opens a validator that proposes bad blocks, votes for two at
// once, and sends its peers what is no transaction. child has it attest what
// nobody holds.
func openByzantine(ctx context.Context, cfg chain.Config) (*chain.Chain, error) {
	peers := make(chan p2p.Switcher, 1)
	liar := &twoFaced{key: cfg.Key, peers: peers}
	c, err := chain.OpenWith(ctx, cfg,
		func(honest abci.Application) abci.Application { return &badProposer{Application: honest, cfg: cfg} },
		func(honest types.PrivValidator) types.PrivValidator { liar.PrivValidator = honest; return liar })
	if err != nil {
		return nil, err
	}
	peers <- c.Engine().Switch()
	go sendRubbish(c)
	return c, nil
}

// badProposals are the kinds of bad block, each from what would be a good one.
var badProposals = []struct {
	name string
	txs  func(cfg chain.Config, number int) [][]byte
}{
	{"garbage", func(chain.Config, int) [][]byte { return [][]byte{[]byte("garbage")} }},
	{"oversized", func(chain.Config, int) [][]byte { return [][]byte{make([]byte, ledger.MaxTx+1)} }},
	{"forged", func(cfg chain.Config, number int) [][]byte {
		raw := announcement(cfg, number)
		raw[len(raw)-1] ^= 1
		return [][]byte{raw}
	}},
	{"twice", func(cfg chain.Config, number int) [][]byte {
		raw := announcement(cfg, number)
		return [][]byte{raw, raw}
	}},
}

func announcement(cfg chain.Config, number int) []byte {
	raw, err := ledger.SignAnnounce(cfg.Genesis.ChainID, key("byzantine %d", number), 1, record(fmt.Sprint("byzantine ", number)))
	if err != nil {
		panic(err)
	}
	return raw
}

// badProposer is an application that proposes what it must not.
type badProposer struct {
	abci.Application

	cfg    chain.Config
	number int
}

func (b *badProposer) PrepareProposal(context.Context, *abci.RequestPrepareProposal) (*abci.ResponsePrepareProposal, error) {
	bad := badProposals[b.number%len(badProposals)]
	b.number++
	fmt.Println("proposed", bad.name)
	return &abci.ResponsePrepareProposal{Txs: bad.txs(b.cfg, b.number)}, nil
}

func (b *badProposer) ProcessProposal(context.Context, *abci.RequestProcessProposal) (*abci.ResponseProcessProposal, error) {
	return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_ACCEPT}, nil
}

// twoFaced signs, beside each vote for a block, one for another, and sends that
// to everybody itself.
type twoFaced struct {
	types.PrivValidator

	key   ed25519.PrivateKey
	peers chan p2p.Switcher // holds one, once there is one
}

func (s *twoFaced) SignVote(chainID string, v *cmtproto.Vote) error {
	if err := s.PrivValidator.SignVote(chainID, v); err != nil {
		return err
	}
	select {
	case sw := <-s.peers:
		s.peers <- sw
		if v.Type == cmtproto.PrevoteType && !types.ProtoBlockIDIsNil(&v.BlockID) {
			other := *v
			other.BlockID.Hash = tmhash.Sum(v.BlockID.Hash)
			other.Signature = ed25519.Sign(s.key, types.VoteSignBytes(chainID, &other))
			sw.BroadcastAsync(p2p.Envelope{ChannelID: consensus.VoteChannel, Message: &cmtcons.Vote{Vote: &other}})
		}
	default:
	}
	return nil
}

// sendRubbish sends peers, at every height, what is no transaction; now and then
// one that is too long, for which they hang up.
func sendRubbish(c *chain.Chain) {
	for u, err := range c.Updates(context.Background(), 0) {
		if err != nil {
			return
		}
		rubbish := [][]byte{fmt.Appendf(nil, "garbage %d", u.Height)}
		if u.Height%8 == 3 {
			rubbish[0] = make([]byte, 4*ledger.MaxTx)
			fmt.Println("sent oversized")
		}
		c.Engine().Switch().BroadcastAsync(p2p.Envelope{ChannelID: mempool.MempoolChannel, Message: &protomem.Txs{Txs: rubbish}})
	}
}

// judge counts the proposals that the honest application refuses.
type judge struct {
	abci.Application

	mu      sync.Mutex
	refused int // guarded by mu
}

func (j *judge) ProcessProposal(ctx context.Context, req *abci.RequestProcessProposal) (*abci.ResponseProcessProposal, error) {
	res, err := j.Application.ProcessProposal(ctx, req)
	if err == nil && res.Status == abci.ResponseProcessProposal_REJECT {
		j.mu.Lock()
		j.refused++
		j.mu.Unlock()
	}
	return res, err
}

// TestByzantineValidatorIsRefusedAndKnown has one of four validators lie in all
// the ways that it can.
func TestByzantineValidatorIsRefusedAndKnown(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := newProcesses(t, 4, 500*time.Millisecond, "byzantine")
	p.silent = true
	judge := &judge{}
	const full = 4
	c, err := chain.OpenWith(t.Context(), p.config(full), func(honest abci.Application) abci.Application {
		judge.Application = honest
		return judge
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.nodes[full] = c
	p.certify("beside a liar")

	// Nobody can get this block, and the liar says it has it.
	secret := record("withheld")
	if err := os.WriteFile(withheld(p.dir, secret), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	index := p.announce(full, "liar's friend", 1, secret)

	standing := func() (a ledger.Announced) {
		t.Helper()
		if viewed := c.View(func(s *ledger.State) { a, err = s.Announcement(index) }); viewed != nil || err != nil {
			t.Fatal(viewed, err)
		}
		return a
	}

	// Everything that it tries was tried, and judged.
	p.until(full, 0, "all bad proposals and evidence", func(chain.Update) bool {
		evidence, err := c.Evidence(1)
		if err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		judge.mu.Lock()
		defer p.mu.Unlock()
		defer judge.mu.Unlock()
		for _, bad := range badProposals {
			if p.said["proposed "+bad.name] == 0 {
				return false
			}
		}
		return p.said["sent oversized"] > 0 && judge.refused >= len(badProposals) && len(evidence) > 0 && standing().Power > 0
	})
	p.certify("in spite of a liar")
	if a := standing(); a.Status == ledger.Certified || a.Power != 1 {
		t.Errorf("withheld block is %s with power %d, want the liar's alone", a.Status, a.Power)
	}

	// What it proposed is in no block: every transaction of every block is in the log.
	size, decided, logged := p.head(full).Size, 0, 0
	for h := int64(1); ; h++ {
		block := c.Engine().BlockStore().LoadBlock(h)
		if block == nil {
			break
		}
		decided += len(block.Txs)
	}
	p.until(full, 0, "the log", func(u chain.Update) bool {
		for _, e := range u.Entries {
			if e.Kind == ledger.EntryTx {
				logged++
			}
		}
		return u.Next() >= size
	})
	if decided != logged {
		t.Errorf("%d transactions in blocks, %d in the log", decided, logged)
	}

	// Each honest node has the evidence by itself, and shows it to light clients.
	liar := ledger.KeyOf(key("consensus %d", 0))
	p.allSay(p.head(full))
	for i := 1; i <= full; i++ {
		if evidence, err := p.nodes[i].Evidence(1); err != nil || len(evidence) != 1 {
			t.Errorf("node %d has evidence %x, %v", i, evidence, err)
		}
	}
	cl := p.lightClient(light.Config{})
	look(t, cl)
	twice, err := cl.DoubleSigns(t.Context())
	if err != nil || len(twice) == 0 {
		t.Fatalf("signed twice: %v, %v", twice, err)
	}
	for _, d := range twice {
		if d.Validator != liar {
			t.Errorf("%+v is no liar", d)
		}
	}
}
