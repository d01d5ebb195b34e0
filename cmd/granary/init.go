package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/durable"
	"granary/cmd/granary/internal/exit"
	"granary/ledger"
	"granary/ledger/light"
)

func (a *app) init() *cobra.Command {
	var network, found, checkpoint string
	var encrypt bool
	var listen netip.Addr
	cmd := &cobra.Command{
		Use:   "init --network FILE [--checkpoint H:HASH] | --new CHAIN --listen IP [--encrypt]",
		Short: "Prepare a home on a network, or found one",
		Long: `Makes a folder with keys, settings and the network's file. Keys that are there
already are kept, so it is safe to run again, for example with a newer file of
the same network.

A network older than 180 days needs a checkpoint from somebody you trust, which
every node of it prints: ` + "`granary status --checkpoint`" + `.

With --new it founds a network whose only validator is this home, reachable at
--listen; network.json in the home is the file to hand to others.

With --encrypt the keys are encrypted under a passphrase, and never on the disk
without: see ` + "`granary keys encrypt`" + `.

Exit status: 0 ready; 8 a node runs on this home, with --encrypt; 1 the home belongs to another network; 64 the network
file or the chain ID is refused; 9 no passphrase, or not the one of the keys that
are there.`,
		Example: "  granary init --network network.json",
		GroupID: "node",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.prepare(cmd.Context(), network, found, checkpoint, listen, encrypt)
			if err != nil {
				return err
			}
			file := filepath.Join(a.home, config.SettingsFile)
			if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
				s := config.NewSettings()
				if found != "" {
					if err := errors.Join(s.Set("role", "validator"), s.Set("listen", listen.String())); err != nil {
						return err
					}
				}
				if err := durable.Write(file, s.File(), 0o644); err != nil {
					return err
				}
			}
			key := h.Public.Publisher.String()
			network := filepath.Join(a.home, "network.json")
			return a.ui.Result(map[string]any{
				"home": a.home, "chain_id": h.Network.ChainID(), "network": network, "publisher": key, "encrypted": h.Encrypted(),
			}, func(w io.Writer) {
				fmt.Fprintf(w, "home       %s\nnetwork    %s, %s\npublisher  %s\n", a.home, h.Network.ChainID(), network, key)
				fmt.Fprintf(w, "next       granary node --home %s\n", quoted(a.home))
			})
		},
	}
	cmd.Flags().StringVar(&network, "network", "", "the network's file")
	cmd.Flags().StringVar(&checkpoint, "checkpoint", "", "with --network: a header to trust, HEIGHT:HASH, instead of the file's")
	cmd.Flags().StringVar(&found, "new", "", "chain ID of a network to found: 1 to 50 of a-z, 0-9 and -")
	cmd.Flags().BoolVar(&encrypt, "encrypt", false, "encrypt the keys under a passphrase")
	cmd.Flags().TextVar(&listen, "listen", netip.Addr{}, "with --new: the IP address under which others reach this home")
	return cmd
}

// prepare makes the home: of the network in a file, or of a new one.
func (a *app) prepare(ctx context.Context, network, found, checkpoint string, listen netip.Addr, encrypt bool) (*config.Home, error) {
	switch {
	case network == "" && found == "":
		return nil, exit.Usagef("ask whoever runs the network for its file, found one with --new CHAIN --listen IP, or try `granary devnet`", "init needs --network FILE")
	case network != "" && found != "":
		return nil, exit.Usagef("choose one", "--network and --new exclude each other")
	case found != "" && checkpoint != "":
		return nil, exit.Usagef("a new network has none yet", "--checkpoint and --new exclude each other")
	case found != "" && !listen.IsValid():
		return nil, exit.Usagef("say under which address others reach this home", "--new needs --listen IP")
	case found != "":
		h, err := a.found(ctx, found, listen, encrypt)
		if errors.Is(err, ledger.ErrMalformed) {
			err = exit.Usagef("a chain ID is 1 to 50 of a-z, 0-9 and -", "--new %q: %w", found, err)
		}
		return h, err
	}
	n, err := config.LoadNetwork(network)
	if err != nil {
		return nil, err
	}
	if checkpoint != "" {
		point, err := light.ParseCheckpoint(checkpoint)
		if err != nil {
			return nil, exit.Usagef("`granary status --checkpoint` on any node of the network prints one", "%w", err)
		}
		n.Checkpoint = &point
	}
	old, err := config.LoadNetwork(filepath.Join(a.home, "network.json"))
	if other := err == nil && old.Genesis.Hash() != n.Genesis.Hash(); encrypt && !other {
		if err := a.alone(ctx, func() error { return a.seal(ctx) }); err != nil {
			return nil, err
		}
	}
	return config.Init(a.home, n)
}

// found makes a network, and this home its only validator.
func (a *app) found(ctx context.Context, chainID string, listen netip.Addr, encrypt bool) (*config.Home, error) {
	if old, err := config.LoadNetwork(filepath.Join(a.home, "network.json")); err == nil {
		return nil, fmt.Errorf("%w: %s is on chain %s", config.ErrOtherNetwork, a.home, old.ChainID())
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if encrypt {
		if err := a.alone(ctx, func() error { return a.seal(ctx) }); err != nil {
			return nil, err
		}
	}
	h, err := config.Keys(a.home)
	if err == nil {
		err = a.unlock(ctx, h)
	}
	if err != nil {
		return nil, err
	}
	return h.Found(chainID, listen, defaultPort)
}

// defaultPort is libp2p's.
const defaultPort = 4747
