package config_test

import (
	"bytes"
	"errors"
	"testing"

	"granary/cmd/granary/internal/config"
)

const key = "b0bceabc1a33ce97e1ef6e6a3dd3bd84918627c431d90c2ef5a68a5aa4e083a8"

func TestNetworkFiles(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		ok   bool
	}{
		"smallest":        {`{"chain_id":"a","custody":1}`, true},
		"whole":           {`{"chain_id":"net-1","bootstrap":[],"publishers":["` + key + `"],"custody":64,"devnet":true}`, true},
		"empty":           {``, false},
		"no chain":        {`{"custody":4}`, false},
		"capital chain":   {`{"chain_id":"Net","custody":4}`, false},
		"no custody":      {`{"chain_id":"a"}`, false},
		"too much":        {`{"chain_id":"a","custody":65}`, false},
		"short publisher": {`{"chain_id":"a","custody":4,"publishers":["b0"]}`, false},
		"unknown key":     {`{"chain_id":"a","custody":4,"validators":[]}`, false},
		"two objects":     {`{"chain_id":"a","custody":4}{}`, false},
	} {
		_, err := config.ParseNetwork([]byte(test.text))
		if (err == nil) != test.ok || err != nil && !errors.Is(err, config.ErrNetwork) {
			t.Errorf("%s: error %v, want ok = %t", name, err, test.ok)
		}
	}
}

func FuzzParseNetwork(f *testing.F) {
	f.Add([]byte(`{"chain_id":"net-1","bootstrap":["/ip4/127.0.0.1"],"publishers":["` + key + `"],"custody":64}`))
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
	one, err := config.Init(dir, config.Network{ChainID: "one", Custody: 4})
	if err != nil {
		t.Fatal(err)
	}
	again, err := config.Init(dir, config.Network{ChainID: "one", Custody: 8})
	if err != nil {
		t.Fatal(err)
	}
	if !one.Node.Equal(again.Node) || !one.Publisher.Equal(again.Publisher) {
		t.Error("keys changed when the home was prepared again")
	}
	if again.Network.Custody != 8 {
		t.Errorf("custody %d, want that of the newer file, 8", again.Network.Custody)
	}
	if _, err := config.Init(dir, config.Network{ChainID: "two", Custody: 4}); !errors.Is(err, config.ErrOtherNetwork) {
		t.Errorf("another network: error %v, want ErrOtherNetwork", err)
	}
	if _, err := config.OpenHome(t.TempDir()); !errors.Is(err, config.ErrNoHome) {
		t.Errorf("an empty folder: error %v, want ErrNoHome", err)
	}
}
