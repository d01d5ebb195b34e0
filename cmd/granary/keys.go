package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"granary/blobstore"
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
secret, hold nothing else, and are what a backup needs. They can be encrypted under
a passphrase, which then is asked for wherever a key is used: in the file that
--passphrase-file or GRANARY_PASSPHRASE_FILE names, in GRANARY_PASSPHRASE, or at the
terminal.

Never copy HOME/ledger/chain/data/signed.json, and never run a validator from a
copy of its home: what it signed last is known in one place only, and a validator
that signs twice is caught and cannot take it back.

Exit status: 0 shown; 9 not the passphrase; 64 no home.`,
		Example: "  granary keys --json",
		GroupID: "ledger",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := config.OpenHome(a.home)
			if err != nil {
				return err
			}
			return a.showKeys(cmd.Context(), h)
		},
	}
	cmd.AddCommand(a.keysRotate(), a.keysEncrypt(), a.keysDecrypt())
	return cmd
}

func (a *app) showKeys(ctx context.Context, h *config.Home) error {
	id, err := h.PeerID()
	if err != nil {
		return err
	}
	public := h.Public
	out := map[string]any{
		"node": id.String(), "publisher": public.Publisher, "consensus": public.Consensus, "attest": public.Attest,
		"consensus_id": chain.NodeID(public.Node), "encrypted": h.Encrypted(),
	}
	offer := "needs the passphrase"
	if err := a.unlock(ctx, h); a.passphraseFile != "" || !errors.Is(err, config.ErrSealed) {
		if err != nil {
			return err
		}
		v, err := h.Validator(h.Network.ChainID(), "candidate", 1)
		if err != nil {
			return err
		}
		offer = candidate(v)
		out["candidate"] = offer
	}
	return a.ui.Result(out, func(w io.Writer) {
		fmt.Fprintf(w, "node       %s\n           this node among others (libp2p)\n", id)
		fmt.Fprintf(w, "publisher  %s\n           announces blocks, owns names and credits\n", public.Publisher)
		fmt.Fprintf(w, "consensus  %s\n           signs heights, if this home is a validator; never changes\n", public.Consensus)
		fmt.Fprintf(w, "attest     %s\n           attests, proposes and votes, if this home is a validator\n", public.Attest)
		fmt.Fprintf(w, "candidate  %s\n           all that others need to vote this home in: `granary validators propose join NAME POWER …`\n", offer)
		fmt.Fprintf(w, "consensus peer  %s@IP:PORT\n           what other validators put into consensus_peers\n", chain.NodeID(public.Node))
		if h.Encrypted() {
			fmt.Fprintln(w, "The key files are encrypted.")
		}
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
		if err := a.unlock(ctx, h); err != nil {
			return err
		}
		next, err := h.NextAttest()
		if err != nil {
			return err
		}
		to := ledger.Rotation{Attest: ledger.KeyOf(next)}
		if to.Proof, err = ledger.Prove(h.Network.ChainID(), h.Public.Consensus, next); err != nil {
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

func (a *app) keysEncrypt() *cobra.Command {
	return &cobra.Command{
		Use:   "encrypt",
		Short: "Encrypt the key files under a passphrase",
		Long: `Encrypts every key in HOME/keys under one passphrase; a plain one under a name that
means nothing here is left alone and told of. What held the key in plain
may stay readable on the disk until it is overwritten, and in backups: for a new home,
` + "`granary init --encrypt`" + ` never writes it. A passphrase that is lost cannot be recovered.
To change it, decrypt and encrypt again.

Exit status: 0 encrypted; 8 a node runs on this home; 9 no passphrase; 64 no home.`,
		Example: "  granary keys encrypt --passphrase-file /run/credentials/granary",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.rewriteKeys(cmd.Context(), func() error { return a.seal(cmd.Context()) })
		},
	}
}

func (a *app) keysDecrypt() *cobra.Command {
	return &cobra.Command{
		Use:   "decrypt",
		Short: "Write the key files in plain again",
		Long: `Decrypts every file in HOME/keys.

Exit status: 0 decrypted; 8 a node runs on this home; 9 no passphrase, or not the
one; 64 no home.`,
		Example: "  granary keys decrypt",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.rewriteKeys(cmd.Context(), func() error {
				passphrase, err := a.passphrase(cmd.Context(), false)
				if err != nil {
					return err
				}
				return config.Unseal(a.home, passphrase)
			})
		},
	}
}

// rewriteKeys changes how the keys are stored, while no node reads them.
func (a *app) rewriteKeys(ctx context.Context, rewrite func() error) error {
	if _, err := config.OpenHome(a.home); err != nil {
		return err
	}
	if err := a.alone(ctx, rewrite); err != nil {
		return err
	}
	h, err := config.OpenHome(a.home)
	if err != nil {
		return err
	}
	return a.ui.Result(map[string]any{"home": a.home, "encrypted": h.Encrypted()}, func(w io.Writer) {
		if h.Encrypted() {
			fmt.Fprintf(w, "the keys in %s are encrypted\n", a.home)
		} else {
			fmt.Fprintf(w, "the keys in %s are plain\n", a.home)
		}
	})
}

// alone calls f while nobody else has the home.
func (a *app) alone(ctx context.Context, f func() error) error {
	if c, err := gateway.Dial(ctx, config.Socket(a.home)); err == nil {
		return errors.Join(&exit.Error{Status: exit.Locked, Err: fmt.Errorf("a node runs on %s, and reads its keys", a.home), Hint: "stop it first"}, c.Close())
	}
	store, err := blobstore.Open(ctx, a.home, blobstore.Config{Logger: a.logger()})
	if err != nil {
		return err
	}
	return errors.Join(f(), store.Close())
}
