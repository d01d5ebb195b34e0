package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/journal"
	"granary/cmd/granary/internal/node"
	"granary/sampling"
)

func (a *app) watch() *cobra.Command {
	var network string
	var budget config.Size
	var history bool
	opt := node.WatchOptions{}
	s := config.NewSettings()
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Follow the ledger and test every new block",
		Long: `Prints each verified head of the ledger, and the verdict on every block that
is certified from now on, newest first, until it is interrupted. A block whose
verdict is not final is tested twice more, with the same rows; blocks missed
since the last watch in this home are taken up. All verdicts, those of verify
too, stand in the home's journal, with the cause of every missing row:
--history prints it.

Exit status: 130 interrupted; 0 history printed; 8 the home is watched already;
64 no home.`,
		Example: "  granary watch --network network.json --budget 500MB",
		GroupID: "blocks",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if history {
				return a.history(network)
			}
			var err error
			if opt.Namespace, err = node.ParseNamespace(opt.Namespace); err != nil {
				return exit.Usagef("a namespace is a publisher key, as `granary status` shows a home's own, or a name that one owns", "--namespace: %w", err)
			}
			opt.Budget = int64(budget)
			return a.reach(cmd.Context(), s, network, func(c *gateway.Client, _ bool) error {
				return c.Watch(cmd.Context(), opt, a.watched)
			})
		},
	}
	verifyFlags(cmd, &opt.VerifyOptions)
	s.AddHidden(cmd.Flags())
	cmd.Flags().StringVar(&opt.Namespace, "namespace", "", "test only blocks announced in it: a publisher key (64 hex digits) or a name")
	cmd.Flags().Var(&budget, "budget", "bytes of rows in 24 hours, beyond which no test begins, e.g. 500MB; 0 for no limit")
	cmd.Flags().BoolVar(&history, "history", false, "print the verdicts in this home's journal and exit")
	cmd.Flags().StringVar(&network, "network", "", "the network's `file`, where the home is not prepared")
	return cmd
}

// watched prints one thing that a watcher sees.
func (a *app) watched(seen node.Watched) error {
	waiting := ""
	if seen.Waiting > 0 {
		waiting = fmt.Sprintf(", %d waiting", seen.Waiting)
	}
	if h := seen.Ledger; h != nil {
		return a.ui.Step(seen, "%s  height %d, %d entries, root %.16s…%s", h.State, h.Height, h.Size, h.Root, waiting)
	}
	if seen.Paused != "" {
		return a.ui.Step(seen, "paused  %s%s", seen.Paused, waiting)
	}
	r := *seen.Verdict
	return a.ui.Step(seen, "%s  %.16s…  %s%s", r.Verdict, r.ID,
		found(r.Verdict, r.Reason, r.Samples, r.Missing, r.Bits, r.TookMS), waiting)
}

// found says in a few words how a test ended.
func found(state sampling.State, reason string, samples, missing, bits int, ms int64) string {
	text := fmt.Sprintf("%d rows asked for, %d missing, ", samples, missing)
	if state == sampling.Available {
		text += fmt.Sprintf("%d bits, ", bits)
	}
	text += (time.Duration(ms) * time.Millisecond).String()
	if reason != "" {
		text += ", because " + reason
	}
	return text
}

// history prints the journal of the home, or of the guest that passing commands
// of the network are.
func (a *app) history(network string) error {
	if _, _, err := a.openHome(network); err != nil {
		return err
	}
	entries, err := node.History(a.home)
	if err != nil {
		return err
	}
	if entries == nil {
		entries = []journal.Entry{}
	}
	if len(entries) == 0 {
		a.ui.Note("this home's journal is empty: `granary verify` and `granary watch` write it")
	}
	return a.ui.Result(map[string]any{"verdicts": entries}, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, e := range entries {
			fmt.Fprintf(t, "%s\t%.16s…\t%s\t%s, %s from %d holders\n", e.Time.Local().Format(time.DateTime), e.ID, e.Verdict,
				found(e.Verdict, e.Reason, e.Samples, e.Missing, e.Bits, e.TookMS), humanize.IBytes(uint64(e.Bytes)), e.Holders)
		}
		t.Flush()
	})
}
