package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/gateway"
)

func (a *app) node() *cobra.Command {
	var network string
	var corrupt, leash bool
	s := config.NewSettings()
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Run a node until it is interrupted",
		Long: `Keeps this home's share of what is announced, serves what it holds, and
answers the other verbs. It may be killed at any time: what it acknowledged is
on disk, and the next start takes up where it stopped.

Exit status: 0 stopped; 8 another process has the home; 64 no home or a
setting is refused; 9 no passphrase for encrypted keys, or not the one; 75 a port is in use.`,
		Example: "  granary init --network network.json && granary node",
		GroupID: "node",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if network != "" {
				n, err := config.LoadNetwork(network)
				if err != nil {
					return err
				}
				if _, err := config.Init(a.home, n); err != nil {
					return err
				}
			}
			home, err := config.OpenHome(a.home)
			if err != nil {
				return err
			}
			if err := s.Resolve(a.home); err != nil {
				return err
			}
			if err := a.unlock(cmd.Context(), home); err != nil {
				return err
			}
			cfg := nodeConfig(home, s)
			cfg.Faults.Corrupt, cfg.Logger = corrupt, a.logger()
			ctx := cmd.Context()
			if leash {
				var cancel context.CancelFunc
				ctx, cancel = leashed(ctx, a.stdin)
				defer cancel()
			}
			return host(ctx, cfg, s.HTTP, func(ctx context.Context, c *gateway.Client) error {
				st, err := c.Status(ctx)
				if err != nil {
					return err
				}
				err = a.ui.Result(st, func(w io.Writer) {
					fmt.Fprintf(w, "node %s on %s, torrents on %s\n", st.Peer, st.Chain, st.Torrent)
				})
				a.showSync(ctx, c)
				<-ctx.Done()
				return err
			})
		},
	}
	s.AddTo(cmd.Flags())
	cmd.Flags().StringVar(&network, "network", "", "prepare the home first, like init: the network's `file`")
	cmd.Flags().BoolVar(&corrupt, "fault-corrupt", false, "serve wrong bytes (devnets only)")
	cmd.Flags().BoolVar(&leash, "leash", false, "end when standard input does")
	for _, hidden := range []string{"fault-corrupt", "leash"} {
		if err := cmd.Flags().MarkHidden(hidden); err != nil {
			panic("BUG: " + err.Error())
		}
	}
	return cmd
}

// leashed returns a context that ends with the parent process: the parent
// holds the other end of in and writes nothing, so in ends when it does,
// however it ends.
func leashed(ctx context.Context, in io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, in) // any end of it is the end
		cancel()
	}()
	return ctx, cancel
}
