package ledger_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"granary/ledger"
)

func TestGenesisSurvivesJSON(t *testing.T) {
	for _, g := range []ledger.Genesis{testGenesis(), {
		ChainID: testChain, Time: time.UnixMilli(1).UTC(), Validators: validators(5), Params: ledger.DevnetParams(),
	}} {
		got, err := ledger.ParseGenesis(g.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if got.Hash() != g.Hash() || !bytes.Equal(got.Encode(), g.Encode()) {
			t.Errorf("got %+v, want %+v", got, g)
		}
		if _, err := ledger.ParseGenesis(bytes.ReplaceAll(g.Encode(), []byte("\n"), []byte("\r\n\t"))); err != nil {
			t.Errorf("with other white space: %v", err)
		}
	}
}

// TestGenesisHashCoversEverything changes one value at a time.
func TestGenesisHashCoversEverything(t *testing.T) {
	seen := map[ledger.Hash]string{testGenesis().Hash(): "nothing"}
	for name, change := range map[string]func(*ledger.Genesis){
		"chain":     func(g *ledger.Genesis) { g.ChainID = "granary-testx" },
		"time":      func(g *ledger.Genesis) { g.Time = g.Time.Add(time.Millisecond) },
		"name":      func(g *ledger.Genesis) { g.Validators[1].Name = "x" },
		"power":     func(g *ledger.Genesis) { g.Validators[1].Power = 2 },
		"consensus": func(g *ledger.Genesis) { g.Validators[1].Consensus[0] ^= 1 },
		"attest":    func(g *ledger.Genesis) { g.Validators[1].Attest = ledger.KeyOf(attestKey(8)) },
		"peer":      func(g *ledger.Genesis) { g.Validators[1].Peer = ledger.PeerID("x") },
		"order":     func(g *ledger.Genesis) { v := g.Validators; v[0], v[1] = v[1], v[0] },
		"fewer":     func(g *ledger.Genesis) { g.Validators = g.Validators[:3] },
		"heartbeat": func(g *ledger.Genesis) { g.Params.Heartbeat += time.Millisecond },
		"window":    func(g *ledger.Genesis) { g.Params.AnnounceWindow += time.Millisecond },
		"grace":     func(g *ledger.Genesis) { g.Params.SamplingGrace += time.Millisecond },
		"retry":     func(g *ledger.Genesis) { g.Params.RetryRound += time.Millisecond },
		"custody":   func(g *ledger.Genesis) { g.Params.Custody++ },
		"allowance": func(g *ledger.Genesis) { g.Params.Allowance, g.Params.AllowancePerDay = 1, 2 },
		"per day":   func(g *ledger.Genesis) { g.Params.AllowancePerDay = 2 },
		"pending":   func(g *ledger.Genesis) { g.Params.MaxPending++ },
		"votes":     func(g *ledger.Genesis) { g.Params.VoteWindow += time.Millisecond },
		"term":      func(g *ledger.Genesis) { g.Params.NameTerm += time.Millisecond },
		"cost":      func(g *ledger.Genesis) { g.Params.NameCost++ },
		"fee":       func(g *ledger.Genesis) { g.Params.Fee++ },
		"key":       func(g *ledger.Genesis) { g.Grants[0].Key[0] ^= 1 },
		"credits":   func(g *ledger.Genesis) { g.Grants[0].Credits++ },
		"no grants": func(g *ledger.Genesis) { g.Grants = nil },
	} {
		g := testGenesis()
		change(&g)
		for i := range g.Validators {
			for k := range 9 {
				if v := &g.Validators[i]; v.Attest == ledger.KeyOf(attestKey(k)) {
					v.Proof, _ = ledger.Prove(g.ChainID, v.Consensus, attestKey(k))
				}
			}
		}
		if err := g.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		h := g.Hash()
		if other, ok := seen[h]; ok {
			t.Errorf("changing %s gives the hash of changing %s", name, other)
		}
		seen[h] = name
	}
}

func TestBadGenesisIsMalformed(t *testing.T) {
	for name, change := range map[string]func(*ledger.Genesis){
		"no chain":           func(g *ledger.Genesis) { g.ChainID = "" },
		"long chain":         func(g *ledger.Genesis) { g.ChainID = strings.Repeat("c", 51) },
		"upper chain":        func(g *ledger.Genesis) { g.ChainID = "Granary" },
		"no time":            func(g *ledger.Genesis) { g.Time = time.Time{} },
		"microseconds":       func(g *ledger.Genesis) { g.Time = g.Time.Add(time.Microsecond) },
		"year 10,000":        func(g *ledger.Genesis) { g.Time = time.UnixMilli(253_402_300_800_000) },
		"no validators":      func(g *ledger.Genesis) { g.Validators = nil },
		"101 validators":     func(g *ledger.Genesis) { g.Validators = validators(make([]int64, 101)...) },
		"no power":           func(g *ledger.Genesis) { g.Validators[0].Power = 0 },
		"negative power":     func(g *ledger.Genesis) { g.Validators[0].Power = -1 },
		"too much power":     func(g *ledger.Genesis) { g.Validators[0].Power = ledger.MaxPower },
		"overflowing power":  func(g *ledger.Genesis) { g.Validators[0].Power, g.Validators[1].Power = 1<<63-1, 1<<63-1 },
		"no name":            func(g *ledger.Genesis) { g.Validators[0].Name = "" },
		"name with a bell":   func(g *ledger.Genesis) { g.Validators[0].Name = "\a" },
		"long name":          func(g *ledger.Genesis) { g.Validators[0].Name = strings.Repeat("n", 65) },
		"consensus twice":    func(g *ledger.Genesis) { g.Validators[0].Consensus = g.Validators[1].Consensus },
		"attest twice":       func(g *ledger.Genesis) { g.Validators[0].Attest = g.Validators[1].Attest },
		"one key for two":    func(g *ledger.Genesis) { g.Validators[0].Attest = g.Validators[0].Consensus },
		"no proof":           func(g *ledger.Genesis) { g.Validators[0].Proof = ledger.Proof{} },
		"another's proof":    func(g *ledger.Genesis) { g.Validators[0].Proof = g.Validators[1].Proof },
		"no peer":            func(g *ledger.Genesis) { g.Validators[0].Peer = nil },
		"peer twice":         func(g *ledger.Genesis) { g.Validators[0].Peer = g.Validators[1].Peer },
		"long peer":          func(g *ledger.Genesis) { g.Validators[0].Peer = make([]byte, 65) },
		"no heartbeat":       func(g *ledger.Genesis) { g.Params.Heartbeat = 0 },
		"nanoseconds":        func(g *ledger.Genesis) { g.Params.RetryRound++ },
		"long window":        func(g *ledger.Genesis) { g.Params.AnnounceWindow = 32 * day },
		"negative grace":     func(g *ledger.Genesis) { g.Params.SamplingGrace = -time.Second },
		"custody 0":          func(g *ledger.Genesis) { g.Params.Custody = 0 },
		"custody 65":         func(g *ledger.Genesis) { g.Params.Custody = 65 },
		"negative allowance": func(g *ledger.Genesis) { g.Params.Allowance = -1 },
		"allowance, no cap":  func(g *ledger.Genesis) { g.Params.Allowance = 1 },
		"huge cap":           func(g *ledger.Genesis) { g.Params.AllowancePerDay = 1<<63 - 1 },
		"allowance < fee":    func(g *ledger.Genesis) { g.Params.Fee, g.Params.Allowance, g.Params.AllowancePerDay = 2, 1, 1 },
		"name in HTML":       func(g *ledger.Genesis) { g.Validators[0].Name = "a&b" },
		"nothing can pend":   func(g *ledger.Genesis) { g.Params.MaxPending = 0 },
		"no votes":           func(g *ledger.Genesis) { g.Params.VoteWindow = 0 },
		"long term":          func(g *ledger.Genesis) { g.Params.NameTerm = 3651 * day },
		"negative cost":      func(g *ledger.Genesis) { g.Params.NameCost = -1 },
		"huge cost":          func(g *ledger.Genesis) { g.Params.NameCost = 1 << 60 },
		"negative fee":       func(g *ledger.Genesis) { g.Params.Fee = -1 },
		"huge fee":           func(g *ledger.Genesis) { g.Params.Fee = 1<<62 + 1 },
		"grant of nothing":   func(g *ledger.Genesis) { g.Grants[0].Credits = 0 },
		"negative grant":     func(g *ledger.Genesis) { g.Grants[0].Credits = -1 },
		"grant twice":        func(g *ledger.Genesis) { g.Grants[0].Key = g.Grants[1].Key },
		"grants overflow":    func(g *ledger.Genesis) { g.Grants[0].Credits, g.Grants[1].Credits = 1<<62, 1<<62 },
	} {
		g := testGenesis()
		change(&g)
		if err := g.Validate(); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
		if _, err := ledger.Init(ledger.NewMemory(), g); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("%s: a network began: %v", name, err)
		}
	}
}

func TestGenesisIsReadStrictly(t *testing.T) {
	good := string(testGenesis().Encode())
	for name, edit := range map[string][2]string{
		"unknown field":   {`"chain_id"`, `"x": 1, "chain_id"`},
		"doubled field":   {`"chain_id"`, `"chain_id": "a", "chain_id"`},
		"field in case":   {`"chain_id"`, `"Chain_ID"`},
		"missing field":   {`"allowance": 0,`, ``},
		"duration as 60s": {`"1m0s"`, `"60s"`},
		"no duration":     {`"1m0s"`, `60`},
		"fraction":        {`"custody": 4`, `"custody": 4.5`},
		"exponent":        {`"power": 1`, `"power": 1e0`},
		"other zone":      {`12:00:00Z`, `13:00:00+01:00`},
		"upper hex":       {`"peer": "70656572`, `"peer": "AB656572`},
		"short key":       {`"key": "`, `"key": "ab`},
		"trailing":        {"  ]\n}\n", "  ]\n}{}\n"},
		"half":            {`"grants"`, ``},
	} {
		bad := strings.Replace(good, edit[0], edit[1], 1)
		if bad == good {
			t.Errorf("%s: nothing to edit in %s", name, good)
		}
		if _, err := ledger.ParseGenesis([]byte(bad)); !errors.Is(err, ledger.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	if _, err := ledger.ParseGenesis(bytes.Repeat([]byte(" "), ledger.MaxGenesis+1)); !errors.Is(err, ledger.ErrMalformed) {
		t.Errorf("oversized: %v", err)
	}
}

func FuzzParseGenesis(f *testing.F) {
	f.Add(testGenesis().Encode())
	f.Add([]byte(`{"chain_id":"a"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := ledger.ParseGenesis(data)
		if err != nil {
			if !errors.Is(err, ledger.ErrMalformed) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		again, err := ledger.ParseGenesis(g.Encode())
		if err != nil || again.Hash() != g.Hash() {
			t.Errorf("%s does not survive: %v", data, err)
		}
		newNode(t, g).block(t)
	})
}
