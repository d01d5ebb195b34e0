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
	var network string
	opt := node.VerifyOptions{}
	s := config.NewSettings()
	cmd := &cobra.Command{
		Use:   "verify REF",
		Short: "Test whether a block is available, without downloading it",
		Long: `Reads the ledger, draws rows at random, and asks their holders for them. The
verdict is available with the stated confidence, unavailable, or inconclusive:
nothing is said that was not seen. Only available is final; until then the rows
drawn are kept in the home, and running it again, or --wait, asks for the same.

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
			return a.reach(cmd.Context(), s, network, func(c *gateway.Client, _ bool) error {
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
	verifyFlags(cmd, &opt)
	s.AddHidden(cmd.Flags())
	cmd.Flags().DurationVar(&opt.Wait, "wait", 0, "while the verdict is not final, ask for the same rows again for so long, e.g. 5m")
	cmd.Flags().StringVar(&network, "network", "", "the network's `file`, where the home is not prepared")
	return cmd
}

func verifyFlags(cmd *cobra.Command, opt *node.VerifyOptions) {
	opt.Patience = 10 * time.Second
	cmd.Flags().IntVar(&opt.Bits, "bits", sampling.DefaultBits, "confidence: an unavailable block passes with probability below 2^-bits")
	cmd.Flags().BoolVar(&opt.Escalate, "escalate", false, "download any half of the rows before saying unavailable, whatever the size")
	addTimeout(cmd, &opt.Patience, "for the ledger and the block's description")
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
