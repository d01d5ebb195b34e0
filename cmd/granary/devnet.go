package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/exit"
)

// announceWindow is what blocks of any size get for their certificate where a
// dozen nodes share one machine.
const announceWindow = 5 * time.Minute

func (a *app) devnet() *cobra.Command {
	var dir string
	var custodians int
	cmd := &cobra.Command{
		Use:   "devnet",
		Short: "Run a small network on loopback until it is interrupted",
		Long: `Runs four validators, a publisher and custodians as processes on loopback, each
with a home of its own, and prints where they are and what to try. Ctrl-C stops all
of them; without --dir everything is removed then.

Exit status: 0 stopped; 1 a node did not start; 64 --dir is not empty.`,
		Example: "  granary devnet",
		GroupID: "start",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if custodians < 1 || custodians > 100 {
				return exit.Usagef("", "--custodians %d is not 1 to 100", custodians)
			}
			kept := dir != ""
			if !kept {
				if dir, err = os.MkdirTemp("", "granary-devnet-"); err != nil {
					return err
				}
				defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			} else if dir, err = filepath.Abs(dir); err != nil { // what is printed is for another terminal
				return err
			} else if entries, rerr := os.ReadDir(dir); rerr == nil && len(entries) > 0 {
				return exit.Usagef("choose a new folder", "%s is not empty", dir)
			}
			n, err := devnet.New(dir, devnet.Plan{Validators: 4, Custodians: custodians, AnnounceWindow: announceWindow, Others: []string{"publisher"}})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, n.Close()) }()
			names := slices.Sorted(maps.Keys(n.Nodes))
			if err := n.Start(cmd.Context(), names...); err != nil {
				return err
			}
			homes := map[string]string{}
			for _, name := range names {
				homes[name] = n.Nodes[name].Home
			}
			err = a.ui.Result(map[string]any{"chain_id": n.Network.ChainID(), "network": n.File, "homes": homes}, func(w io.Writer) {
				fmt.Fprintf(w, "network file  %s\n", n.File)
				for _, name := range names {
					fmt.Fprintf(w, "%-13s %s  (%s)\n", name, homes[name], n.Nodes[name].IP)
				}
				fmt.Fprintf(w, `
Try in another terminal:
  granary publish FILE --home %[1]s
  granary verify ID --network %[3]s --home %[4]s
  granary get ID -o copy --network %[3]s --home %[4]s
  granary watch --network %[3]s --home %[4]s
  granary status --home %[2]s
Break it: kill -9 any of these processes, then get the block again.
Ctrl-C stops the network.
`, quoted(homes["publisher"]), quoted(homes[names[0]]), quoted(n.File), quoted(filepath.Join(dir, "newcomer")))
			})
			a.tellLosses(cmd.Context(), n)
			a.ui.Note("stopping %d nodes", len(names))
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "keep the network in this folder (default: a temporary one)")
	cmd.Flags().IntVar(&custodians, "custodians", 6, "nodes that keep custody")
	return cmd
}

// tellLosses says which nodes end, until ctx does.
func (a *app) tellLosses(ctx context.Context, n *devnet.Net) {
	lost := n.Lost(ctx)
	for {
		select {
		case name := <-lost:
			a.ui.Note("%s ended; start it again with `granary node --home %s`", name, quoted(n.Nodes[name].Home))
		case <-ctx.Done():
			return
		}
	}
}
