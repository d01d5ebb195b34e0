package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/durable"
	"granary/cmd/granary/internal/folder"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
)

func (a *app) magnet() *cobra.Command {
	s := config.NewSettings()
	var network string
	cmd := &cobra.Command{
		Use:   "magnet REF",
		Short: "Print a block's magnet link",
		Long: `Prints the link that finds the block in any BitTorrent v2 client. A whole ID
or a .torrent needs no home, @name and #index the ledger.

Exit status: 0 printed; 1 no stored block begins so; 64 REF refused.`,
		Example: "  granary magnet 4f1c9a02",
		GroupID: "blocks",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := node.ParseRef(args[0])
			if err != nil {
				return err
			}
			id, link := ref.ID.String(), ref.ID.Magnet()
			switch {
			case ref.Prefix != "":
				err = a.blocks(cmd.Context(), func(s shelf) error {
					b, err := s.Block(cmd.Context(), ref.Prefix)
					id, link = b.ID, b.Magnet
					return err
				})
			case ref.InLedger():
				err = a.reach(cmd.Context(), s, network, func(c *gateway.Client, _ bool) error {
					b, err := c.Standing(cmd.Context(), args[0])
					id, link = b.ID, b.Magnet
					return err
				})
			}
			if err != nil {
				return err
			}
			return a.ui.Result(map[string]string{"id": id, "magnet": link}, func(w io.Writer) { fmt.Fprintln(w, link) })
		},
	}
	s.AddHidden(cmd.Flags())
	cmd.Flags().StringVar(&network, "network", "", "the network's file, where the home is not prepared")
	return cmd
}

func (a *app) torrent() *cobra.Command {
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "torrent REF",
		Short: "Write a block's .torrent file",
		Long: `Writes a torrent with piece layers, for any BitTorrent v2 client. The block
must be known in this home; no row of it need be held.

Exit status: 0 written; 1 the home has no such block; 64 REF or output refused.`,
		Example: "  granary torrent 4f1c9a02 -o block.torrent",
		GroupID: "blocks",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.output(out, force); err != nil {
				return err
			}
			ref, err := shelfRef(args[0])
			if err != nil {
				return err
			}
			return a.blocks(cmd.Context(), func(s shelf) error {
				b, err := s.Block(cmd.Context(), ref)
				if err != nil {
					return err
				}
				raw, err := s.Torrent(cmd.Context(), b.ID)
				if err != nil {
					return err
				}
				if out == "-" {
					_, err := a.ui.Out().Write(raw)
					return err
				}
				if out == "" {
					out = b.Name + ".torrent"
				}
				if err := folder.Free(out, force); err != nil {
					return err
				}
				if err := durable.Write(out, raw, 0o644); err != nil {
					return err
				}
				return a.ui.Result(map[string]string{"id": b.ID, "output": out}, func(w io.Writer) { fmt.Fprintln(w, out) })
			})
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write (default: NAME.torrent; - for standard output)")
	cmd.Flags().BoolVar(&force, "force", false, "replace the output if it exists")
	return cmd
}
