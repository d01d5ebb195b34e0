package light_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmtversion "github.com/cometbft/cometbft/proto/tendermint/version"
	"github.com/cometbft/cometbft/types"
	"github.com/cometbft/cometbft/version"

	"granary/erasure"
	"granary/ledger"
	"granary/ledger/light"
)

var genesisTime = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

const interval = time.Second // between two heights of a synthetic chain

// key returns the private key of whoever is called name.
func key(name string, args ...any) ed25519.PrivateKey {
	seed := sha256.Sum256(fmt.Appendf(nil, name, args...))
	return ed25519.NewKeyFromSeed(seed[:])
}

func testGenesis(validators int) ledger.Genesis {
	g := ledger.Genesis{ChainID: "granary-test", Time: genesisTime, Params: ledger.DevnetParams()}
	g.Params.Fee = 0
	for i := range validators {
		proof, err := ledger.Prove(g.ChainID, ledger.KeyOf(key("consensus %d", i)), key("attest %d", i))
		if err != nil {
			panic(err)
		}
		g.Validators = append(g.Validators, ledger.Validator{
			Name: fmt.Sprintf("validator %d", i), Power: 1,
			Consensus: ledger.KeyOf(key("consensus %d", i)), Attest: ledger.KeyOf(key("attest %d", i)), Proof: proof,
			Peer: ledger.PeerID(fmt.Sprintf("peer %d", i)),
		})
	}
	return g
}

// record describes a block that nobody has.
func record(name string) ledger.Record {
	return ledger.Record{
		Info: erasure.Info{
			Name: "test", Length: 1 << 20,
			Content: sha256.Sum256([]byte("content " + name)), Parity: sha256.Sum256([]byte("parity " + name)),
			ProofHash: sha256.Sum256([]byte("proof " + name)),
		},
		Keep: 1,
	}
}

// synth is a chain without consensus: its validators sign what they are told. It
// is a light.Source of the heights that it has.
type synth struct {
	tb      testing.TB
	genesis ledger.Genesis
	kv      *ledger.Memory
	state   *ledger.State
	blocks  []*types.LightBlock // number i is height i+1
	sets    []validatorSet      // of each height, and of the next
	signers int                 // how many validators sign; 0: all
	lie     *ledger.Head        // what headers commit to; nil: the truth

	evidence [][]byte // of double signing
	accused  [][]byte // such that clients brought
}

// validatorSet is CometBFT's set with the keys, which are in its order.
type validatorSet struct {
	*types.ValidatorSet
	keys map[string]cmted25519.PrivKey // by address
}

func newSet(names []string) validatorSet {
	s := validatorSet{keys: make(map[string]cmted25519.PrivKey)}
	var list []*types.Validator
	for _, name := range names {
		k := cmted25519.PrivKey(key("%s", name))
		s.keys[k.PubKey().Address().String()] = k
		list = append(list, types.NewValidator(k.PubKey(), 1))
	}
	s.ValidatorSet = types.NewValidatorSet(list)
	return s
}

func newSynth(tb testing.TB, validators int) *synth {
	tb.Helper()
	g := testGenesis(validators)
	kv := ledger.NewMemory()
	s, err := ledger.Init(kv, g)
	if err != nil {
		tb.Fatal(err)
	}
	set := newSet(names(validators, 0))
	return &synth{tb: tb, genesis: g, kv: kv, state: s, sets: []validatorSet{set, set}}
}

// names of n validators, the first of which is number first.
func names(n, first int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("consensus %d", first+i))
	}
	return out
}

// fork returns a chain that goes on from here by itself.
func (c *synth) fork() *synth {
	f := *c
	f.kv = c.kv.Clone()
	var err error
	if f.state, err = ledger.Load(f.kv); err != nil {
		c.tb.Fatal(err)
	}
	f.blocks, f.sets = slices.Clone(c.blocks), slices.Clone(c.sets)
	return &f
}

func (c *synth) height() int64 { return int64(len(c.blocks)) }

// now is a moment after the last height was signed.
func (c *synth) now() time.Time { return genesisTime.Add(time.Duration(c.height()) * interval) }

// idle adds n heights without transactions.
func (c *synth) idle(n int) {
	for range n {
		c.add()
	}
}

// add adds a height. Its header commits to the state before it, so what the
// transactions do is committed to by the next.
func (c *synth) add(txs ...[]byte) ledger.Applied {
	c.tb.Helper()
	header := c.header()
	c.sets = append(c.sets, c.sets[header.Height])
	applied, err := c.state.Apply(header.Height, header.Time, txs)
	if err != nil {
		c.tb.Fatal(err)
	}
	for _, refused := range applied.Results {
		if refused != nil {
			c.tb.Fatal(refused)
		}
	}
	return applied
}

// header adds a signed header.
func (c *synth) header() types.Header {
	c.tb.Helper()
	height := c.height() + 1
	committed := c.lie
	if committed == nil {
		head := c.state.Head()
		committed = &head
	}
	hash := committed.AppHash()
	set, next := c.sets[height-1], c.sets[height]
	header := types.Header{
		Version: cmtversion.Consensus{Block: version.BlockProtocol, App: 1}, ChainID: c.genesis.ChainID,
		Height: height, Time: genesisTime.Add(time.Duration(height-1) * interval),
		ValidatorsHash: set.Hash(), NextValidatorsHash: next.Hash(), ConsensusHash: fill("consensus"),
		DataHash: fill("data"), AppHash: hash[:], LastResultsHash: fill("results"), EvidenceHash: fill("evidence"),
		LastCommitHash: fill("commit"), ProposerAddress: set.Validators[0].Address,
	}
	if height > 1 {
		header.LastBlockID = c.blocks[height-2].Commit.BlockID
	}
	c.blocks = append(c.blocks, &types.LightBlock{
		SignedHeader: &types.SignedHeader{Header: &header, Commit: c.sign(&header, set)}, ValidatorSet: set.ValidatorSet,
	})
	return header
}

// change replaces the validators from two heights on, as CometBFT does.
func (c *synth) change(names []string) { c.sets[len(c.sets)-1] = newSet(names) }

// sign returns the commit of a header by its validators, a moment before the
// next height.
func (c *synth) sign(h *types.Header, set validatorSet) *types.Commit {
	id := types.BlockID{Hash: h.Hash(), PartSetHeader: types.PartSetHeader{Total: 1, Hash: fill("parts")}}
	commit := &types.Commit{Height: h.Height, BlockID: id}
	for i, v := range set.Validators {
		if c.signers > 0 && i >= c.signers {
			commit.Signatures = append(commit.Signatures, types.NewCommitSigAbsent())
			continue
		}
		vote := &types.Vote{
			Type: cmtproto.PrecommitType, Height: h.Height, BlockID: id, Timestamp: h.Time.Add(interval),
			ValidatorAddress: v.Address, ValidatorIndex: int32(i),
		}
		sig, err := set.keys[v.Address.String()].Sign(types.VoteSignBytes(h.ChainID, vote.ToProto()))
		if err != nil {
			c.tb.Fatal(err)
		}
		vote.Signature = sig
		commit.Signatures = append(commit.Signatures, vote.CommitSig())
	}
	return commit
}

func fill(name string) []byte {
	h := sha256.Sum256([]byte(name))
	return h[:]
}

// publish announces and certifies the block called name, and adds the height
// whose header commits to that.
func (c *synth) publish(name string) (announced, certified uint64) {
	c.tb.Helper()
	r := record(name)
	raw, err := ledger.SignAnnounce(c.genesis.ChainID, key("publisher of %s", name), 1, r)
	if err != nil {
		c.tb.Fatal(err)
	}
	announced = c.add(raw).First
	var attests [][]byte
	for i, v := range c.genesis.Validators {
		account, err := c.state.Account(v.Attest)
		if err != nil {
			c.tb.Fatal(err)
		}
		raw, err := ledger.SignAttest(c.genesis.ChainID, key("attest %d", i), account.Nonce+1, []ledger.Attestation{{Index: announced, ID: r.ID()}})
		if err != nil {
			c.tb.Fatal(err)
		}
		attests = append(attests, raw)
	}
	applied := c.add(attests...)
	for i, e := range applied.Entries {
		if e.Kind == ledger.EntryCertified {
			certified = applied.First + uint64(i)
		}
	}
	c.add()
	return announced, certified
}

// LightBlock implements light.Source.
func (c *synth) LightBlock(height int64) ([]byte, error) {
	if height == 0 {
		height = c.height()
	}
	if height < 1 || height > c.height() {
		return nil, ledger.ErrNotFound
	}
	return encodeBlock(c.blocks[height-1])
}

func encodeBlock(b *types.LightBlock) ([]byte, error) {
	msg, err := b.ToProto()
	if err != nil {
		return nil, err
	}
	return msg.Marshal()
}

// View implements light.Source.
func (c *synth) View(read func(*ledger.State)) error {
	read(c.state)
	return nil
}

// Evidence implements light.Source.
func (c *synth) Evidence(count int) ([][]byte, error) {
	return c.evidence[:min(count, len(c.evidence))], nil
}

// Accuse implements light.Source.
func (c *synth) Accuse(evidence []byte) error {
	if err := light.CheckTwice(c.genesis.ChainID, evidence, c.genesis.Validators); err != nil {
		return fmt.Errorf("%w: %w", ledger.ErrMalformed, err)
	}
	c.accused = append(c.accused, evidence)
	return nil
}

// Submit implements light.Source: what is accepted goes nowhere.
func (c *synth) Submit(_ context.Context, raw []byte) error {
	return new(ledger.Mempool).Check(c.state, raw)
}

// world is a light.Transport to providers in this process. It counts.
type world struct {
	mu        sync.Mutex
	providers map[string]provider
	calls     int
	bytes     int
}

// provider answers a request.
type provider func(protocol string, req []byte) ([]byte, error)

// honest serves a source as it is.
func honest(src light.Source) provider {
	return func(protocol string, req []byte) ([]byte, error) {
		if protocol == light.TxProtocol {
			return light.ServeTx(context.Background(), src, req), nil
		}
		return light.Serve(src, req), nil
	}
}

func down(string, []byte) ([]byte, error) { return nil, errors.New("connection refused") }

// Call implements light.Transport.
func (w *world) Call(_ context.Context, peer, protocol string, req []byte) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.providers[peer]
	if !ok {
		return nil, errors.New("no such peer")
	}
	raw, err := p(protocol, req)
	w.calls++
	w.bytes += len(req) + len(raw)
	return raw, err
}

// client opens a light client of a chain, at a moment after its last height,
// with providers called by their place.
func client(tb testing.TB, c *synth, cfg light.Config, providers ...provider) (*light.Client, *world) {
	tb.Helper()
	w := &world{providers: make(map[string]provider)}
	var peers []string
	for i, p := range providers {
		name := peerName(i)
		w.providers[name] = p
		peers = append(peers, name)
	}
	if cfg.Genesis.ChainID == "" {
		cfg.Genesis = c.genesis
	}
	if cfg.Now == nil {
		cfg.Now = c.now
	}
	cl, err := light.Open(tb.Context(), cfg, w)
	if err != nil {
		tb.Fatal(err)
	}
	cl.SetPeers(peers)
	return cl, w
}

func peerName(i int) string { return fmt.Sprintf("peer %d", i) }

func update(tb testing.TB, cl *light.Client) light.Status {
	tb.Helper()
	s, err := cl.Update(tb.Context())
	if err != nil {
		tb.Fatalf("update: %v (%+v)", err, s)
	}
	return s
}
