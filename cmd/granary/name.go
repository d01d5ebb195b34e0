package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
)

func (a *app) name() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "name set|show|history|renew|give NAME",
		Short: "Own names that point at blocks",
		Long: `A name is owned by a key for some time, costs credits, and points at a block, so
that @NAME stands for that block wherever a REF is taken. Every step is an entry
of the ledger; what a name points at now, and that its history is complete, is
proven, whoever is asked.

Every step costs the fee at least, which ` + "`granary credit`" + ` tells. A name is 1 to 63 of a-z, 0-9 and -. When its time is over it is nobody's, at
once: renew it before.

Exit status: 0 done; 1 refused by the ledger: another's, too few credits; 64 a
name that cannot be; 75 the ledger cannot be reached, or did not take it in time.`,
		Example: "  granary name set archive 4f1c9a02… && granary get @archive -o copy",
		GroupID: "ledger",
		RunE:    subcommands,
	}
	cmd.AddCommand(a.nameSet(), a.nameShow(), a.nameHistory(), a.nameRenew(), a.nameGive())
	return cmd
}

// subcommands is what a verb does that has only these.
func subcommands(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return exit.Usagef("`"+cmd.CommandPath()+" --help` lists what it does", "%s %q is not known", cmd.CommandPath(), args[0])
	}
	return cmd.Help()
}

// asking is a command that asks or tells the ledger one thing, through the
// running node or one that is opened for it.
func (a *app) asking(cmd *cobra.Command, do func(ctx context.Context, c *gateway.Client, args []string) error) *cobra.Command {
	var network string
	s := config.NewSettings()
	s.AddHidden(cmd.Flags())
	cmd.Flags().StringVar(&network, "network", "", "the network's file, where the home is not prepared")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.reach(cmd.Context(), s, network, func(c *gateway.Client, _ bool) error {
			return do(cmd.Context(), c, args)
		})
	}
	return cmd
}

func (a *app) nameSet() *cobra.Command {
	return a.asking(&cobra.Command{
		Use:     "set NAME REF",
		Short:   "Point a name at a block, and take it first if nobody owns it",
		Example: "  granary name set archive 4f1c9a02…",
		Args:    exactly(2),
	}, func(ctx context.Context, c *gateway.Client, args []string) error {
		return a.changeName(ctx, c, node.NameChange{Name: args[0], Terms: -1, Target: args[1]})
	})
}

func (a *app) nameRenew() *cobra.Command {
	var terms int
	cmd := a.asking(&cobra.Command{
		Use:     "renew NAME",
		Short:   "Pay for a name, also one that nobody owns",
		Example: "  granary name renew archive --terms 3",
		Args:    exactly(1),
	}, func(ctx context.Context, c *gateway.Client, args []string) error {
		if terms < 1 {
			return exit.Usagef("", "--terms %d is not 1 to 10", terms)
		}
		return a.changeName(ctx, c, node.NameChange{Name: args[0], Terms: terms})
	})
	cmd.Flags().IntVar(&terms, "terms", 1, "for how many terms, 1 to 10; `granary name show` tells their length and cost")
	return cmd
}

func (a *app) nameGive() *cobra.Command {
	return a.asking(&cobra.Command{
		Use:     "give NAME KEY",
		Short:   "Make another publisher key the owner",
		Example: "  granary name give archive 9a3f…",
		Args:    exactly(2),
	}, func(ctx context.Context, c *gateway.Client, args []string) error {
		return a.changeName(ctx, c, node.NameChange{Name: args[0], Owner: args[1]})
	})
}

func (a *app) changeName(ctx context.Context, c *gateway.Client, change node.NameChange) error {
	s, err := c.SetName(ctx, change)
	if err != nil {
		return err
	}
	return a.showName(s)
}

func (a *app) nameShow() *cobra.Command {
	return a.asking(&cobra.Command{
		Use:     "show NAME",
		Short:   "Show whose a name is, and what it points at",
		Example: "  granary name show archive --json",
		Args:    exactly(1),
	}, func(ctx context.Context, c *gateway.Client, args []string) error {
		s, err := c.Name(ctx, args[0])
		if err != nil {
			return err
		}
		return a.showName(s)
	})
}

func (a *app) showName(s node.NameStatus) error {
	return a.ui.Result(s, func(w io.Writer) {
		switch {
		case s.Owned && s.Yours:
			fmt.Fprintf(w, "@%s\nowner    %s (this home's publisher)\nuntil    %s\n", s.Name, s.Owner, s.Until.Format(time.RFC3339))
		case s.Owned:
			fmt.Fprintf(w, "@%s\nowner    %s\nuntil    %s\n", s.Name, s.Owner, s.Until.Format(time.RFC3339))
		case s.Until != nil:
			fmt.Fprintf(w, "@%s\nowner    nobody: it lapsed on %s\n", s.Name, s.Until.Format(time.RFC3339))
		default:
			fmt.Fprintf(w, "@%s\nowner    nobody\n", s.Name)
		}
		if s.Target != "" {
			fmt.Fprintf(w, "block    %s\n", s.Target)
		}
		fmt.Fprintf(w, "entries  %d\nprice    %d credits for %s, and %d at least for each step\n", s.Entries, s.Cost, s.Term, s.Fee)
	})
}

func (a *app) nameHistory() *cobra.Command {
	return a.asking(&cobra.Command{
		Use:     "history NAME",
		Short:   "List everything that ever happened to a name",
		Example: "  granary name history archive",
		Args:    exactly(1),
	}, func(ctx context.Context, c *gateway.Client, args []string) error {
		steps, err := c.NameHistory(ctx, args[0])
		if err != nil {
			return err
		}
		return a.ui.Result(map[string]any{"name": args[0], "history": steps}, func(w io.Writer) {
			for _, s := range steps {
				fmt.Fprintf(w, "#%-6d %s  by %.16s…", s.Index, s.Time.Format(time.RFC3339), s.By)
				fmt.Fprintf(w, "  paid %d", s.Pay)
				if s.Terms == 1 {
					fmt.Fprint(w, " for a term")
				} else if s.Terms > 1 {
					fmt.Fprintf(w, " for %d terms", s.Terms)
				}
				if s.Target != "" {
					fmt.Fprintf(w, "  block %s", s.Target)
				}
				if s.Owner != "" {
					fmt.Fprintf(w, "  given to %s", s.Owner)
				}
				fmt.Fprintln(w)
			}
		})
	})
}
