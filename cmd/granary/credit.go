package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
)

func (a *app) credit() *cobra.Command {
	cmd := a.asking(&cobra.Command{
		Use:   "credit [KEY]",
		Short: "Show credits and what moved them, or move them",
		Long: `Shows the account of a key, this home's publisher unless another is named, with
every entry of the ledger that moved its credits: proven, and proven to be all.
A credit keeps one byte for one day. A block, a transfer and a step of a name cost
the fee at least, which nobody gets: it pays for room in every node's ledger.

Exit status: 0 shown or moved; 1 refused by the ledger; 64 a key or an amount that
cannot be; 75 the ledger cannot be reached, or did not take it in time.`,
		Example: "  granary credit && granary credit transfer 9a3f… 1000000000",
		GroupID: "ledger",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return exit.Usagef("usage: "+cmd.UseLine(), "%s takes one key at most", cmd.CommandPath())
			}
			return nil
		},
	}, func(ctx context.Context, c *gateway.Client, args []string) error {
		s, err := c.Credit(ctx, append(args, "")[0])
		if err != nil {
			return err
		}
		return a.showCredit(s)
	})
	cmd.AddCommand(a.creditTransfer())
	return cmd
}

func (a *app) creditTransfer() *cobra.Command {
	return a.asking(&cobra.Command{
		Use:     "transfer KEY AMOUNT",
		Short:   "Give credits of this home's publisher to another key",
		Example: "  granary credit transfer 9a3f… 1000000000",
		Args:    exactly(2),
	}, func(ctx context.Context, c *gateway.Client, args []string) error {
		amount, err := strconv.ParseInt(args[1], 10, 64)
		if err != nil || amount < 1 {
			return exit.Usagef("credits are whole byte-days: 1000000000", "amount %q", args[1])
		}
		s, err := c.Transfer(ctx, args[0], amount)
		if err != nil {
			return err
		}
		return a.showCredit(s)
	})
}

func (a *app) showCredit(s node.CreditStatus) error {
	return a.ui.Result(s, func(w io.Writer) {
		fmt.Fprintf(w, "key      %s\ncredits  %d\nfee      %d for a transfer or a step of a name, and the least for a block\n", s.Key, s.Credits, s.Fee)
		if len(s.Moves) == 0 && s.Credits == 0 && s.Allowance > 0 {
			fmt.Fprintf(w, "         up to %d more as a newcomer, when it first publishes\n", s.Allowance)
		}
		for _, m := range s.Moves {
			fee := ""
			if m.Fee > 0 {
				fee = fmt.Sprintf(" (%d of it the fee)", m.Fee)
			}
			fmt.Fprintf(w, "#%-6d %s  %+d\t%s %s%s\tleaves %d\n", m.Index, m.Time.Format(time.RFC3339), m.Credits, m.What, m.About, fee, m.Balance)
		}
		if s.Opening > 0 {
			fmt.Fprintf(w, "began with %d\n", s.Opening)
		}
	})
}
