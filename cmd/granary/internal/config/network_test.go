package config_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"granary/cmd/granary/internal/config"
	"granary/ledger"
)

// genesis is a network of one validator.
func genesis(chain string) ledger.Genesis {
	attest := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	proof, err := ledger.Prove(chain, ledger.PublicKey{1}, attest)
	if err != nil {
		panic(err)
	}
	return ledger.Genesis{
		ChainID: chain, Time: time.UnixMilli(1_700_000_000_000).UTC(), Params: ledger.DevnetParams(),
		Validators: []ledger.Validator{{Name: "one", Power: 1, Consensus: ledger.PublicKey{1}, Attest: ledger.KeyOf(attest), Proof: proof, Peer: ledger.PeerID{3}}},
	}
}

func TestNetworkFiles(t *testing.T) {
	good := config.Network{Genesis: genesis("net-1"), Devnet: true}
	text := string(good.Encode())
	for name, test := range map[string]struct {
		text string
		ok   bool
	}{
		"whole":           {text, true},
		"empty":           {``, false},
		"no genesis":      {`{"chain_id":"net-1","bootstrap":[]}`, false},
		"other chain":     {strings.Replace(text, `"chain_id": "net-1"`, `"chain_id": "net-2"`, 1), false},
		"unknown key":     {strings.Replace(text, `"bootstrap"`, `"boots":1,"bootstrap"`, 1), false},
		"two objects":     {text + "{}", false},
		"checkpoint at 0": {strings.Replace(text, `"devnet"`, `"checkpoint":{"height":0,"hash":"`+strings.Repeat("0", 64)+`"},"devnet"`, 1), false},
		"checkpoint":      {strings.Replace(text, `"devnet"`, `"checkpoint":{"height":7,"hash":"`+strings.Repeat("0", 64)+`"},"devnet"`, 1), true},
		"short hash":      {strings.Replace(text, `"devnet"`, `"checkpoint":{"height":7,"hash":"00"},"devnet"`, 1), false},
	} {
		_, err := config.ParseNetwork([]byte(test.text))
		if (err == nil) != test.ok || err != nil && !errors.Is(err, config.ErrNetwork) {
			t.Errorf("%s: error %v, want ok = %t", name, err, test.ok)
		}
	}
}

func FuzzParseNetwork(f *testing.F) {
	f.Add(config.Network{Genesis: genesis("net-1"), Bootstrap: []string{"/ip4/127.0.0.1"}}.Encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := config.ParseNetwork(raw)
		if err != nil {
			return
		}
		again, err := config.ParseNetwork(n.Encode())
		if err != nil || !bytes.Equal(again.Encode(), n.Encode()) {
			t.Errorf("%s does not read back: %v", n.Encode(), err)
		}
	})
}

func TestHomeKeepsItsKeysAndItsNetwork(t *testing.T) {
	dir := t.TempDir()
	one, err := config.Init(dir, config.Network{Genesis: genesis("one")})
	if err != nil {
		t.Fatal(err)
	}
	again, err := config.Init(dir, config.Network{Genesis: genesis("one"), Bootstrap: []string{"newer"}})
	if err != nil {
		t.Fatal(err)
	}
	if !one.Node.Equal(again.Node) || !one.Publisher.Equal(again.Publisher) {
		t.Error("keys changed when the home was prepared again")
	}
	if len(again.Network.Bootstrap) != 1 {
		t.Errorf("bootstrap %v, want that of the newer file", again.Network.Bootstrap)
	}
	if _, err := config.Init(dir, config.Network{Genesis: genesis("two")}); !errors.Is(err, config.ErrOtherNetwork) {
		t.Errorf("another network: error %v, want ErrOtherNetwork", err)
	}
	if _, err := config.OpenHome(t.TempDir()); !errors.Is(err, config.ErrNoHome) {
		t.Errorf("an empty folder: error %v, want ErrNoHome", err)
	}
}
