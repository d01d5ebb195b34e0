package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/gateway"
	"granary/ledger"
	"granary/ledger/chain"
)

func (a *app) keys() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Show the public keys of this home and what each is for",
		Long: `Shows the public halves of the keys in this home. The files in HOME/keys are
secret, hold nothing else, and are what a backup needs.

Never copy HOME/ledger/chain/data/signed.json, and never run a validator from a
copy of its home: what it signed last is known in one place only, and a validator
that signs twice is caught and cannot take it back.

Exit status: 0 shown; 64 no home.`,
		Example: "  granary keys --json",
		GroupID: "ledger",
		Args:    exactly(0),
		RunE: func(*cobra.Command, []string) error {
			h, err := config.OpenHome(a.home)
			if err != nil {
				return err
			}
			return a.showKeys(h)
		},
	}
	cmd.AddCommand(a.keysRotate())
	return cmd
}

func (a *app) showKeys(h *config.Home) error {
	id, err := h.PeerID()
	if err != nil {
		return err
	}
	v, err := h.Validator(h.Network.ChainID(), "candidate", 1)
	if err != nil {
		return err
	}
	consensus, att := v.Consensus, v.Attest
	out := map[string]any{
		"node": id.String(), "publisher": ledger.KeyOf(h.Publisher), "consensus": consensus, "attest": att,
		"consensus_id": chain.NodeID(h.Node), "candidate": candidate(v),
	}
	return a.ui.Result(out, func(w io.Writer) {
		fmt.Fprintf(w, "node       %s\n           this node among others (libp2p)\n", id)
		fmt.Fprintf(w, "publisher  %s\n           announces blocks, owns names and credits\n", ledger.KeyOf(h.Publisher))
		fmt.Fprintf(w, "consensus  %s\n           signs heights, if this home is a validator; never changes\n", consensus)
		fmt.Fprintf(w, "attest     %s\n           attests, proposes and votes, if this home is a validator\n", att)
		fmt.Fprintf(w, "candidate  %s\n           all that others need to vote this home in: `granary validators propose join NAME POWER …`\n", candidate(v))
		fmt.Fprintf(w, "consensus peer  %s@IP:PORT\n           what other validators put into consensus_peers\n", chain.NodeID(h.Node))
	})
}

func (a *app) keysRotate() *cobra.Command {
	return a.asking(&cobra.Command{
		Use:   "rotate-attest",
		Short: "Change the attest key of this validator",
		Long: `Makes a new attest key, has the ledger replace the old one, which signs that, and
puts it into use; a running node takes it up by itself. The old file is kept
beside the new one. Interrupted, it goes on with the same new key when it is run
again. A key that was stolen or lost is replaced by the others instead:
` + "`granary validators propose replace-key`" + `.`,
		Example: "  granary keys rotate-attest",
		Args:    exactly(0),
	}, func(ctx context.Context, c *gateway.Client, _ []string) error {
		h, err := config.OpenHome(a.home)
		if err != nil {
			return err
		}
		next, err := h.NextAttest()
		if err != nil {
			return err
		}
		to := ledger.Rotation{Attest: ledger.KeyOf(next)}
		if to.Proof, err = ledger.Prove(h.Network.ChainID(), ledger.KeyOf(h.Consensus), next); err != nil {
			return err
		}
		if err := c.Rotate(ctx, to); err != nil {
			if status, _ := exit.Of(err); status == exit.TryAgain {
				return &exit.Error{Status: status, Err: err, Hint: "run it again, later: it goes on with the same new key, and asks the ledger first"}
			}
			return err
		}
		old, err := h.RotateAttest()
		if err != nil {
			return err
		}
		return a.ui.Result(map[string]any{"attest": ledger.KeyOf(next), "old": old}, func(w io.Writer) {
			fmt.Fprintf(w, "attest  %s\nthe key before is in %s\n", ledger.KeyOf(next), old)
		})
	})
}
