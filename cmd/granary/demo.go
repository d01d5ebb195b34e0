package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/demo"
	"granary/cmd/granary/internal/folder"
)

func (a *app) demo() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "demo FILE",
		Short: "Certify a file, verify it, lose half the network, get it back",
		Long: `Runs four validators, six custodians, a publisher, light clients, downloaders
and a liar as processes on loopback, in a temporary folder: codes FILE, has it
certified and kept, has a light client judge it and a block that is withheld,
drops it at the validators, kills the publisher and half of the custodians,
fetches the file back and compares it, and catches a seeder that serves wrong
bytes. FILE is 1 byte to 256 MiB.

Exit status: 0 only if every step held; 64 FILE refused; 130 interrupted.`,
		Example: "  granary demo testdata/sepolia-00000-643a00f7.era1",
		GroupID: "start",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := folder.BlockName(args[0], name)
			if err != nil {
				return err
			}
			r, err := demo.Run(cmd.Context(), a.ui, args[0], name)
			if err != nil {
				return err
			}
			return a.ui.Result(r, func(w io.Writer) {
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				for _, row := range [][2]string{
					{"what", "measured"},
					{"content", fmt.Sprintf("%d bytes, %d rows needed of %d", r.Length, r.RowsNeeded, 2*r.RowsNeeded)},
					{"encode, commit", wall(r.EncodeMS)},
					{"certificate after the announcement", fmt.Sprintf("%s, %d of %d voting power", wall(r.CertifyMS), r.VotingPower, r.TotalPower)},
					{"all shares fsynced and found", wall(r.CustodyMS)},
					{"light client's verdict", fmt.Sprintf("%s: %s, %d rows, %s, %d bits", wall(r.VerdictMS), r.Verdict, r.Samples, humanize.IBytes(uint64(r.SampleBytes)), r.Bits)},
					{"withheld block / cut off", fmt.Sprintf("%s / %s", r.Withheld, r.CutOff)},
					{"recovery from half of the custodians", wall(r.RecoverMS)},
					{"read for it", fmt.Sprintf("%s, %.3f × the content's rows", humanize.IBytes(uint64(r.BytesRead)), float64(r.BytesRead)/float64(r.RowsNeeded*16384))},
					{"liar caught", "yes"},
					{"memory of all nodes, at most", fmt.Sprintf("%d MiB", r.MemoryMiB)},
					{"everything", wall(r.TookMS)},
				} {
					fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
				}
				t.Flush()
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the block's name (default: the file's)")
	return cmd
}

func wall(ms int64) string { return (time.Duration(ms) * time.Millisecond).String() }
