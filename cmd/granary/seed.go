package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
	"granary/cmd/granary/internal/traffic"
)

func (a *app) seed() *cobra.Command {
	patience := time.Minute
	var stop, dryRun, needed, custody bool
	var lend config.Size
	s := config.NewSettings()
	cmd := &cobra.Command{
		Use:   "seed REF... | on | off",
		Short: "Fetch blocks whole and keep them, lend disk, or turn seeding on and off",
		Long: `Fetches each block, keeps it whole, and serves it while the node runs.

With --stop it gives blocks up that were seeded, published or fetched here: what
this home owes the network of them stays, the rest is deleted.

--most-needed lends --cap SIZE of disk to the network: the node looks, now
and then, which pieces of the blocks it has a share of are held by fewest
others, and keeps these too. --custody ends that: it keeps its share alone.

"off" stops everything the node does for others, until "on", also over
restarts: it uploads nothing, fetches no custody, and lets its names in the
DHT lapse. What you ask for yourself goes on, and a block that you publish
is served until it is certified. "granary status" says whether it seeds.

Exit status: 0 done; 3 some of several failed; 4, 6, 7, 75, 130 as for get;
1 a validator cannot be turned off, a light node cannot lend; 64 REF refused,
or no home.`,
		Example: "  granary seed 4f1c9a02…\n  granary seed 4f1c9a02… --stop --dry-run\n  granary seed --most-needed --cap 50GB\n  granary seed off",
		GroupID: "blocks",
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case needed && custody, needed && lend == 0, !needed && lend != 0, (needed || custody) && len(args) > 0:
				return exit.Usagef("usage: "+cmd.UseLine(), "--most-needed and --cap go together, and with nothing else")
			case len(args) == 0 && !needed && !custody:
				return exit.Usagef("usage: "+cmd.UseLine(), "%s needs a block, or on or off", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if dryRun && !stop {
				return exit.Usagef("usage: "+cmd.UseLine()+" --stop --dry-run", "--dry-run goes with --stop")
			}
			if needed || custody {
				return a.lend(cmd.Context(), lend)
			}
			if len(args) == 1 && !stop && (args[0] == "on" || args[0] == "off") {
				return a.switchSeeding(cmd.Context(), args[0] == "on")
			}
			refs := make([]node.Ref, len(args))
			for i, arg := range args {
				var err error
				if refs[i], err = node.ParseRef(arg); err != nil {
					return err
				}
			}
			return a.reach(cmd.Context(), s, "", func(c *gateway.Client, _ bool) error {
				if stop {
					return a.giveUp(cmd.Context(), c, args, refs, dryRun)
				}
				return a.seedAll(cmd.Context(), c, args, refs, node.FetchOptions{Patience: patience})
			})
		},
	}
	s.AddHidden(cmd.Flags())
	cmd.Flags().BoolVar(&stop, "stop", false, "give the blocks up: delete what is owed to nobody")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "with --stop, only say what would be deleted")
	cmd.Flags().BoolVar(&needed, "most-needed", false, "lend disk to the pieces that fewest others hold")
	cmd.Flags().BoolVar(&custody, "custody", false, "lend no disk: keep custody, and what you named, alone")
	cmd.Flags().Var(&lend, "cap", "how much disk to lend, e.g. 50GB")
	addTimeout(cmd, &patience, "give up on a block after so long without a new row")
	return cmd
}

// seedAll fetches and pins blocks one after the other. One that fails does not
// stop those after it.
func (a *app) seedAll(ctx context.Context, c *gateway.Client, args []string, refs []node.Ref, opt node.FetchOptions) error {
	return a.forEach(ctx, args, "seeded", func(i int) error {
		r, err := c.Fetch(ctx, refs[i], opt, a.ui.Progress)
		if err == nil {
			err = c.Pin(ctx, r.ID)
		}
		if err != nil {
			return err
		}
		return a.ui.Result(r, func(w io.Writer) {
			fmt.Fprintf(w, "%s  %s  %s\n", r.ID, humanize.IBytes(uint64(r.Length)), r.Name)
		})
	})
}

// forEach calls do with the place of every argument. Some that fail are exit.Partial,
// and what was not done to them is told.
func (a *app) forEach(ctx context.Context, args []string, done string, do func(i int) error) error {
	var last error
	failed := 0
	for i := range args {
		err := do(i)
		switch {
		case err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			failed++
			last = err
			if len(args) > 1 {
				a.ui.Note("%s: %v", args[i], err)
			}
		}
	}
	if failed > 0 && failed < len(args) {
		return &exit.Error{Status: exit.Partial, Err: fmt.Errorf("%d of %d blocks are not %s, the last because: %w", failed, len(args), done, last)}
	}
	return last
}

// switchSeeding tells the running node, or leaves word for the next.
func (a *app) switchSeeding(ctx context.Context, on bool) error {
	if _, err := config.OpenHome(a.home); err != nil {
		return err
	}
	c, err := gateway.Dial(ctx, config.Socket(a.home))
	if err == nil {
		err = errors.Join(c.Seed(ctx, on), c.Close())
	} else if errors.Is(err, gateway.ErrNoNode) {
		err = node.RememberSeeding(a.home, on)
	}
	if err != nil {
		return err
	}
	return a.ui.Result(map[string]any{"seeding": on}, func(w io.Writer) {
		fmt.Fprintln(w, map[bool]string{true: "seeding is on", false: "seeding is off"}[on])
	})
}

// lend tells the running node how much disk is lent, or leaves word for the
// next.
func (a *app) lend(ctx context.Context, size config.Size) error {
	if _, err := config.OpenHome(a.home); err != nil {
		return err
	}
	c, err := gateway.Dial(ctx, config.Socket(a.home))
	if err == nil {
		err = errors.Join(c.Lend(ctx, int64(size)), c.Close())
	} else if errors.Is(err, gateway.ErrNoNode) {
		err = node.RememberLend(a.home, int64(size))
	}
	if err != nil {
		return err
	}
	return a.ui.Result(map[string]any{"cap": int64(size)}, func(w io.Writer) {
		if size == 0 {
			fmt.Fprintln(w, "no disk is lent beyond custody")
			return
		}
		fmt.Fprintf(w, "%s of disk are lent to the pieces that fewest others hold\n", humanize.IBytes(uint64(size)))
	})
}

func seedingWords(s node.Seeding) string {
	hours := ""
	if s.Hours != "" {
		hours = ", " + s.Hours
	}
	switch s.Why {
	case "":
		return "on" + hours
	case "off":
		return "off; turn it on with `granary seed on`"
	case "hours":
		return "resting until its hours" + hours
	case "error":
		return "off, since nobody can tell whether it should be on: " + s.Err
	}
	return "resting: the month's volume is used up"
}

func trafficWords(t traffic.Used) string {
	limit := "no limit"
	if t.Limit > 0 {
		limit = humanize.IBytes(uint64(t.Limit))
	}
	return fmt.Sprintf("%s sent, %s received of %s in %s", humanize.IBytes(uint64(t.Sent)), humanize.IBytes(uint64(t.Received)), limit, t.Month)
}
