package light_test

import (
	"errors"
	"testing"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/crypto/tmhash"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"

	"granary/ledger"
	"granary/ledger/light"
)

// signedTwice is evidence that validator i signed two votes at height 7.
func signedTwice(tb testing.TB, chain string, i int) *types.DuplicateVoteEvidence {
	tb.Helper()
	e := &types.DuplicateVoteEvidence{VoteA: vote(tb, chain, i, "a"), VoteB: vote(tb, chain, i, "b"), Timestamp: genesisTime}
	if e.VoteA.BlockID.Key() > e.VoteB.BlockID.Key() {
		e.VoteA, e.VoteB = e.VoteB, e.VoteA
	}
	return e
}

func vote(tb testing.TB, chain string, i int, block string) *types.Vote {
	tb.Helper()
	k := cmted25519.PrivKey(key("consensus %d", i))
	v := &types.Vote{
		Type: cmtproto.PrevoteType, Height: 7, Timestamp: genesisTime, ValidatorAddress: k.PubKey().Address(),
		BlockID: types.BlockID{
			Hash:          tmhash.Sum([]byte(block)),
			PartSetHeader: types.PartSetHeader{Total: 1, Hash: tmhash.Sum([]byte(block))},
		},
	}
	signature, err := k.Sign(types.VoteSignBytes(chain, v.ToProto()))
	if err != nil {
		tb.Fatal(err)
	}
	v.Signature = signature
	return v
}

func TestDoubleSigningIsProven(t *testing.T) {
	c := newSynth(t, 4)
	c.publish("a")
	// Of somebody who is no validator nothing can be told, so it says nothing.
	c.evidence = [][]byte{signedTwice(t, c.genesis.ChainID, 9).Bytes(), signedTwice(t, c.genesis.ChainID, 2).Bytes()}
	quiet := c.fork()
	quiet.evidence = nil
	cl, _ := client(t, c, light.Config{}, honest(quiet), honest(c), honest(c))
	update(t, cl)
	got, err := cl.DoubleSigns(t.Context())
	if err != nil || len(got) != 1 || got[0].Validator != ledger.KeyOf(key("consensus %d", 2)) || got[0].Height != 7 {
		t.Errorf("signed twice: %+v, %v", got, err)
	}
	if len(cl.Liars()) != 0 {
		t.Errorf("liars %v", cl.Liars())
	}
}

func TestFalseEvidenceIsALie(t *testing.T) {
	for name, forge := range map[string]func(e *types.DuplicateVoteEvidence){
		"one vote twice":     func(e *types.DuplicateVoteEvidence) { e.VoteB = e.VoteA },
		"another round":      func(e *types.DuplicateVoteEvidence) { e.VoteB.Round++ },
		"another height":     func(e *types.DuplicateVoteEvidence) { e.VoteB.Height++ },
		"forged":             func(e *types.DuplicateVoteEvidence) { e.VoteA.Signature[5] ^= 1 },
		"of another network": func(e *types.DuplicateVoteEvidence) { *e = *signedTwice(t, "another", 2) },
		"of two validators": func(e *types.DuplicateVoteEvidence) {
			e.VoteA.ValidatorAddress = signedTwice(t, "another", 1).VoteA.ValidatorAddress
		},
	} {
		c := newSynth(t, 4)
		c.publish("a")
		e := signedTwice(t, c.genesis.ChainID, 2)
		forge(e)
		c.evidence = [][]byte{e.Bytes()}
		cl, _ := client(t, c, light.Config{}, honest(c))
		update(t, cl)
		if got, err := cl.DoubleSigns(t.Context()); !errors.Is(err, light.ErrLying) || len(got) != 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
