package main

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
)

func (a *app) peers() *cobra.Command {
	return &cobra.Command{
		Use:   "peers",
		Short: "List the peers that the node is connected to",
		Long: `Lists the peers of this home's running node: what each is, how many of the 64
custody groups it keeps, where it is, how long it takes to answer, and when it
last gave a row or a description; and whether others can reach this node.

Exit status: 0 listed; 1 no node runs in this home.`,
		Example: "  granary peers --json",
		GroupID: "node",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := gateway.Dial(cmd.Context(), config.Socket(a.home))
			if err != nil {
				return &exit.Error{Status: exit.Failure, Err: err, Hint: "start it with `granary node`"}
			}
			defer c.Close()
			s, err := c.Peers(cmd.Context())
			if err != nil {
				return err
			}
			return a.ui.Result(s, func(w io.Writer) { printPeers(w, s) })
		},
	}
}

func printPeers(w io.Writer, s node.PeersStatus) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PEER\tROLE\tGROUPS\tANSWERS IN\tUSEFUL\tADDRESS")
	for _, p := range s.Peers {
		latency, useful, note := "-", "-", ""
		if p.LatencyUS > 0 {
			latency = (time.Duration(p.LatencyUS) * time.Microsecond).Round(100 * time.Microsecond).String()
		}
		if !p.Useful.IsZero() {
			useful = time.Since(p.Useful).Round(time.Second).String() + " ago"
		}
		if p.Relayed {
			note = " (relayed)"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s%s\n", p.Peer, cmp.Or(p.Role, "-"), len(p.Groups), latency, useful, p.Addr, note)
	}
	t.Flush()
	fmt.Fprintf(w, "%d connected; %d custodians remembered, %d of them have answered\n", len(s.Peers), s.Known, s.Answered)
	fmt.Fprintf(w, "reachable: %s\n", s.Reach)
}
