package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"granary/cmd/granary/internal/devnet"
)

// TestStoriesOfANetwork runs the stories in testdata/network, which share one
// small network: its homes, its file, and an address that no node has.
func TestStoriesOfANetwork(t *testing.T) {
	n := networkOf(t, devnet.Plan{Validators: 2, Custodians: 3})
	testscript.Run(t, testscript.Params{
		Dir:                "../../testdata/network",
		RequireUniqueNames: true,
		Cmds:               commands(),
		Setup: func(env *testscript.Env) error {
			for variable, name := range map[string]string{
				"PUBLISHER": "publisher", "CUSTODIAN": "custodian-1", "CUSTODIAN2": "custodian-2", "CUSTODIAN3": "custodian-3", "VALIDATOR1": "validator-1", "VALIDATOR2": "validator-2",
			} {
				env.Setenv(variable, n.Nodes[name].Home)
			}
			env.Setenv("NETWORK", n.File)
			env.Setenv("LISTEN", n.Address(0).String())
			return nil
		},
	})
}
