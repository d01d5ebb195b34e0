package main

import (
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
	"granary/erasure"
	"granary/sampling"
)

func (a *app) verify() *cobra.Command {
	var s *config.Settings
	var network string
	opt := node.VerifyOptions{}
	cmd := &cobra.Command{
		Use:   "verify REF",
		Short: "Test whether a block is available, without downloading it",
		Long: `Reads the ledger, draws rows at random, and asks their holders for them. The
verdict is available with the stated confidence, unavailable, or inconclusive:
nothing is said that was not seen. Only available is final.

Exit status: 0 available; 4 unavailable; 5 inconclusive; 6 the publisher lied:
no such content exists; 1 not in the ledger; 64 REF refused.`,
		Example: "  granary verify 4f1c9a02… --network network.json",
		GroupID: "blocks",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := node.ParseRef(args[0])
			if err != nil {
				return err
			}
			if opt.Bits < 1 || opt.Bits > erasure.MaxBits {
				return exit.Usagef("", "--bits %d is not 1 to %d", opt.Bits, erasure.MaxBits)
			}
			return a.reach(cmd.Context(), cmd.Flags(), s, network, func(c *gateway.Client, _ bool) error {
				r, err := c.Verify(cmd.Context(), ref, opt, a.ui.Progress)
				if err != nil {
					return err
				}
				if err := a.ui.Result(r, func(w io.Writer) { printVerdict(w, r) }); err != nil {
					return err
				}
				return verdictCode(r)
			})
		},
	}
	s = config.Flags(cmd.Flags())
	verifyFlags(cmd, &opt)
	cmd.Flags().StringVar(&network, "network", "", "the network's file, where the home is not prepared")
	return cmd
}

func verifyFlags(cmd *cobra.Command, opt *node.VerifyOptions) {
	cmd.Flags().IntVar(&opt.Bits, "bits", sampling.DefaultBits, "confidence: an unavailable block passes with probability below 2^-bits")
	cmd.Flags().BoolVar(&opt.Escalate, "escalate", false, "download any half of the rows before saying unavailable, whatever the size")
	cmd.Flags().DurationVar(&opt.Patience, "timeout", 10*time.Second, "for the ledger and the block's description")
}

// verdictCode is the exit status that a verdict gives.
func verdictCode(r node.VerifyResult) error {
	switch {
	case r.Verdict == sampling.Available:
		return nil
	case r.Reason == string(sampling.NotClean):
		return exit.Code(exit.Mismatch)
	case r.Verdict == sampling.Unavailable:
		return exit.Code(exit.Unavailable)
	}
	return exit.Code(exit.Inconclusive)
}

func printVerdict(w io.Writer, r node.VerifyResult) {
	fmt.Fprintf(w, "%s  %s", r.Verdict, r.ID)
	if r.Reason != "" {
		fmt.Fprintf(w, "  because %s", r.Reason)
	}
	fmt.Fprintln(w)
	if r.Height > 0 {
		fmt.Fprintf(w, "certified at height %d by %d of %d voting power\n", r.Height, r.Power, r.Total)
	}
	if r.Samples > 0 {
		took := time.Duration(r.TookMS) * time.Millisecond
		fmt.Fprintf(w, "%d rows asked for, %d missing, %s from %d holders in %v\n", r.Samples, r.Missing, humanize.IBytes(uint64(r.Bytes)), r.Holders, took)
	}
	fmt.Fprintln(w, r.Explains)
}

func (a *app) watch() *cobra.Command {
	var s *config.Settings
	var network string
	opt := node.VerifyOptions{}
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Follow the ledger and test every new block",
		Long: `Prints each verified head of the ledger and the verdict on every block that is
certified from now on, until it is interrupted.

Exit status: 130 interrupted; 64 no home.`,
		Example: "  granary watch --network network.json",
		GroupID: "blocks",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.reach(cmd.Context(), cmd.Flags(), s, network, func(c *gateway.Client, _ bool) error {
				return c.Watch(cmd.Context(), opt, a.watched)
			})
		},
	}
	s = config.Flags(cmd.Flags())
	verifyFlags(cmd, &opt)
	cmd.Flags().StringVar(&network, "network", "", "the network's file, where the home is not prepared")
	return cmd
}

// watched prints one thing that a watcher sees.
func (a *app) watched(seen node.Watched) error {
	if h := seen.Ledger; h != nil {
		return a.ui.Step(seen, "%s  height %d, %d entries, root %.16s…", h.State, h.Height, h.Size, h.Root)
	}
	r := *seen.Verdict
	return a.ui.Step(seen, "%s  %.16s…  %d rows asked for, %d missing, %d bits, %d ms", r.Verdict, r.ID, r.Samples, r.Missing, r.Bits, r.TookMS)
}
