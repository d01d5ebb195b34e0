package chain_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/crypto/tmhash"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"

	"granary/ledger"
	"granary/ledger/chain"
	"granary/ledger/light"
)

// precommit is the vote of who has a key for a block of a height, in round 3.
func precommit(t testing.TB, chain string, k cmted25519.PrivKey, height int64, block string) *types.Vote {
	t.Helper()
	v := &types.Vote{
		Type: cmtproto.PrecommitType, Height: height, Round: 3, Timestamp: time.Now().UTC(), ValidatorAddress: k.PubKey().Address(),
		BlockID: types.BlockID{Hash: tmhash.Sum([]byte(block)), PartSetHeader: types.PartSetHeader{Total: 1, Hash: tmhash.Sum([]byte(block))}},
	}
	var err error
	if v.Signature, err = k.Sign(types.VoteSignBytes(chain, v.ToProto())); err != nil {
		t.Fatal(err)
	}
	return v
}

func twice(a, b *types.Vote) []byte {
	if a.BlockID.Key() > b.BlockID.Key() {
		a, b = b, a
	}
	return (&types.DuplicateVoteEvidence{VoteA: a, VoteB: b, Timestamp: time.Now()}).Bytes()
}

// TestWhatShowsAForkIsInTheChain hands a node what a light client found, and finds
// it in the chain, where every light client does.
func TestWhatShowsAForkIsInTheChain(t *testing.T) {
	t.Parallel() // most of it is waiting
	n := foundNetwork(t, 1, 0, 200*time.Millisecond)
	c := n.start(0)
	eventually(t, "heights", func() bool { s, err := c.Status(); return err == nil && s.Height > 3 })
	id, k, stranger := n.genesis.ChainID, cmted25519.PrivKey(key("consensus %d", 0)), cmted25519.PrivKey(key("stranger"))
	a, b := precommit(t, id, k, 2, "a"), precommit(t, id, k, 2, "b")
	good := twice(a, b)
	forged := precommit(t, id, k, 2, "b")
	forged.Signature[7] ^= 1
	for name, tt := range map[string]struct {
		raw  []byte
		want error
	}{
		"garbage":             {[]byte("garbage"), ledger.ErrMalformed},
		"nothing":             {nil, ledger.ErrMalformed},
		"half of it":          {good[:len(good)/2], ledger.ErrMalformed},
		"one block":           {twice(precommit(t, id, k, 2, "a"), precommit(t, id, k, 2, "a")), ledger.ErrMalformed},
		"two heights":         {twice(precommit(t, id, k, 2, "a"), precommit(t, id, k, 3, "b")), ledger.ErrMalformed},
		"forged":              {twice(precommit(t, id, k, 2, "a"), forged), ledger.ErrMalformed},
		"of another network":  {twice(precommit(t, "another", k, 2, "a"), precommit(t, "another", k, 2, "b")), ledger.ErrMalformed},
		"of a stranger":       {twice(precommit(t, id, stranger, 2, "a"), precommit(t, id, stranger, 2, "b")), ledger.ErrMalformed},
		"of a height to come": {twice(precommit(t, id, k, 1<<40, "a"), precommit(t, id, k, 1<<40, "b")), ledger.ErrNotFound},
	} {
		if err := c.Accuse(tt.raw); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	for i := range int32(3) { // any number of light clients may bring it, and dress it up
		a.ValidatorIndex = i
		b.Extension, b.ExtensionSignature = bytes.Repeat([]byte("spam"), int(i)), []byte("unchecked")
		if err := c.Accuse(twice(a, b)); err != nil {
			t.Fatal(err)
		}
	}
	var found [][]byte
	eventually(t, "the evidence in the chain", func() bool {
		var err error
		if found, err = c.Evidence(9); err != nil {
			t.Fatal(err)
		}
		return len(found) > 0
	})
	if err := c.Accuse(good); err != nil {
		t.Errorf("what is known: %v", err)
	}
	if len(found) != 1 || bytes.Equal(found[0], good) { // the chain has its own time and power in it
		t.Errorf("found %x", found)
	}
	waiting := c.Engine().EvidencePool().Size
	eventually(t, "no evidence that waits", func() bool { return waiting() == 0 })
	for _, height := range []int64{1, 2} { // who did it can do it again, as often as he likes
		for range 20 {
			if err := c.Accuse(twice(precommit(t, id, k, height, "c"), precommit(t, id, k, height, "d"))); err != nil || waiting() != 0 {
				t.Fatalf("again at height %d: %d more wait, %v", height, waiting(), err)
			}
		}
	}
	cl := n.lightClient(light.Config{})
	look(t, cl)
	if got, err := cl.DoubleSigns(t.Context()); err != nil || len(got) != 1 || got[0].Height != 2 || got[0].Validator != n.genesis.Validators[0].Consensus {
		t.Errorf("signed twice: %+v, %v", got, err)
	}
	if err := c.Accuse(twice(precommit(t, id, k, 3, "a"), precommit(t, id, k, 3, "b"))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the latest evidence alone", func() bool {
		got, err := cl.DoubleSigns(t.Context())
		return err == nil && len(got) == 1 && got[0].Height == 3
	})
}

// FuzzAccuse: from anybody. What is taken shows that the validator signed twice, in
// whatever encoding.
func FuzzAccuse(f *testing.F) {
	n := foundNetwork(f, 1, 0, time.Hour)
	c := n.start(0)
	index := n.announce(0, "alice", 1, record("a"))
	n.entry(0, index, ledger.EntryTx)
	id, k := n.genesis.ChainID, cmted25519.PrivKey(key("consensus %d", 0))
	good := twice(precommit(f, id, k, 1, "a"), precommit(f, id, k, 1, "b"))
	f.Add(good)
	f.Add(twice(precommit(f, id, k, 1, "a"), precommit(f, id, k, 1, "a")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		err := c.Accuse(raw)
		if err != nil && !errors.Is(err, ledger.ErrMalformed) && !errors.Is(err, ledger.ErrNotFound) && !errors.Is(err, chain.ErrBusy) {
			t.Errorf("%x: %v", raw, err)
		}
		var msg cmtproto.DuplicateVoteEvidence
		if err == nil && (msg.Unmarshal(raw) != nil || bytes.Equal(msg.VoteA.Signature, msg.VoteB.Signature)) {
			t.Errorf("%x is taken", raw)
		}
	})
}
