package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/durable"
	"granary/cmd/granary/internal/exit"
)

func (a *app) init() *cobra.Command {
	var network string
	cmd := &cobra.Command{
		Use:   "init --network FILE",
		Short: "Prepare a home on a network",
		Long: `Makes a folder with keys, settings and the network's file. Keys that are there
already are kept, so it is safe to run again, for example with a newer file of
the same network.

Exit status: 0 ready; 1 the home belongs to another network; 64 the network
file is refused.`,
		Example: "  granary init --network network.json",
		GroupID: "node",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if network == "" {
				return exit.Usagef("ask whoever runs the network for its file, or start one of your own: `granary devnet`", "init needs --network FILE")
			}
			n, err := config.LoadNetwork(network)
			if err != nil {
				return err
			}
			h, err := config.Init(a.home, n)
			if err != nil {
				return err
			}
			settings := filepath.Join(a.home, "config.toml")
			if _, err := os.Stat(settings); errors.Is(err, fs.ErrNotExist) {
				if err := durable.Write(settings, []byte(config.Template), 0o644); err != nil {
					return err
				}
			}
			key := hex.EncodeToString(h.Publisher.Public().(ed25519.PublicKey))
			return a.ui.Result(map[string]any{
				"home": a.home, "chain_id": n.ChainID, "publisher": key, "may_publish": n.MayPublish(h.Publisher.Public().(ed25519.PublicKey)),
			}, func(w io.Writer) {
				fmt.Fprintf(w, "home       %s\nnetwork    %s\npublisher  %s\n", a.home, n.ChainID, key)
				fmt.Fprintf(w, "next       granary node --home %s\n", a.home)
			})
		},
	}
	cmd.Flags().StringVar(&network, "network", "", "the network's file")
	return cmd
}
