package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/deny"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
	"granary/sampling"
)

func (a *app) list() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the blocks of this home",
		Long: `Lists what this home holds, with or without a running node, and why: published,
pinned, fetched, or owed to the network (custody) until a day. Why others are
kept, nobody knows any more.

Exit status: 0 listed; 8 another process has the home; 64 no home.`,
		Example: "  granary list --json",
		GroupID: "blocks",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.blocks(cmd.Context(), func(s shelf) error {
				all, err := s.Blocks(cmd.Context())
				if err != nil {
					return err
				}
				return a.ui.Result(map[string]any{"blocks": all}, func(w io.Writer) {
					t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
					fmt.Fprintln(t, "ID\tSIZE\tROWS\tSTATE\tKEPT\tNAME")
					for _, b := range all {
						fmt.Fprintf(t, "%s\t%s\t%d/%d\t%s\t%s\t%s\n", b.ID[:16], humanize.IBytes(uint64(b.Length)), b.Held, b.Rows, state(b), kept(b), b.Name)
					}
					t.Flush()
				})
			})
		},
	}
}

func state(b node.BlockStatus) string {
	switch {
	case b.Damaged > 0:
		return "damaged"
	case b.Whole:
		return "whole"
	case b.Lean:
		return "content"
	case b.Owed != nil && b.Owed.Held:
		return "custody held"
	case b.Held == 0:
		return "empty"
	}
	return "partial"
}

// kept says why a block is kept, for people.
func kept(b node.BlockStatus) string {
	var all []string
	for _, why := range b.Kept {
		text := string(why)
		if why == node.ReasonCustody && b.Until != nil {
			text += " until " + b.Until.UTC().Format(time.DateOnly)
		}
		all = append(all, text)
	}
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, ", ")
}

func (a *app) show() *cobra.Command {
	return &cobra.Command{
		Use:   "show REF",
		Short: "Show one block, and who holds it",
		Long: `Shows a block of this home. With a running node it also asks the ledger about
it, and the DHT, and those it names, who holds how much.

Exit status: 0 shown; 1 the home has no such block; 64 REF refused.`,
		Example: "  granary show 4f1c9a02",
		GroupID: "blocks",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.blocks(cmd.Context(), func(s shelf) error {
				ref, err := shelfRef(args[0])
				if err != nil {
					return err
				}
				b, err := s.Block(cmd.Context(), ref)
				if err != nil {
					return err
				}
				out := struct {
					node.BlockStatus
					*gateway.HoldersReply `json:"network,omitempty"`
					Ledger                *node.Standing `json:"ledger,omitempty"`
				}{BlockStatus: b}
				if c, ok := s.(*gateway.Client); ok {
					h, err := c.Holders(cmd.Context(), b.ID)
					if err != nil {
						return err
					}
					out.HoldersReply = &h
					if st, err := c.Standing(cmd.Context(), b.ID); err == nil {
						out.Ledger = &st
					} else {
						a.ui.Note("the ledger does not say: %v", err)
					}
				}
				return a.ui.Result(out, func(w io.Writer) {
					printRecord(w, b.Record)
					fmt.Fprintf(w, "here          %d of %d rows, %s\nkept          %s\n", b.Held, b.Rows, state(b), kept(b))
					if b.AnnouncedBy != "" {
						fmt.Fprintf(w, "announced by  %s\n", strings.TrimSpace(b.AnnouncedBy+" "+b.Namespace))
					}
					if !b.Checked.IsZero() {
						fmt.Fprintf(w, "checked       %s\n", b.Checked.UTC().Format(time.RFC3339))
					}
					if st := out.Ledger; st != nil {
						fmt.Fprintf(w, "ledger        #%d, %s, %d of %d voting power, kept for %d days\n", st.Index, st.Status, st.Power, st.Total, st.KeepDays)
					}
					if out.HoldersReply == nil {
						return
					}
					fmt.Fprintf(w, "network       %d holders, %d distinct rows (%d are enough)\n", len(out.Holders), out.HoldersReply.Rows, b.Rows/2)
					for _, h := range out.Holders {
						fmt.Fprintf(w, "  %s  %d rows%s\n", h.Peer, h.Rows, holderNote(h))
					}
				})
			})
		},
	}
}

func holderNote(h node.Holder) string {
	switch {
	case h.Err != "":
		return ", no answer: " + h.Err
	case h.ShareHeld:
		return ", its share"
	case h.Custodian:
		return fmt.Sprintf(", owes %d", h.Owed)
	}
	return ""
}

// shelfRef reduces a reference to what names a stored block.
func shelfRef(s string) (string, error) {
	ref, err := node.ParseRef(s)
	switch {
	case err != nil || ref.Prefix != "":
		return ref.Prefix, err
	case ref.InLedger():
		return s, nil
	}
	return ref.ID.String(), nil
}

// printRecord prints a block's record for people.
func printRecord(w io.Writer, r node.Record) {
	fmt.Fprintf(w, "ID            %s\nname          %s\nlength        %d bytes (%s)\n", r.ID, r.Name, r.Length, humanize.IBytes(uint64(r.Length)))
	fmt.Fprintf(w, "rows          %d (k = %d), pieces of %s\n", r.Rows, r.Rows/2, humanize.IBytes(uint64(r.PieceLength)))
	fmt.Fprintf(w, "content root  %s\nparity root   %s\nproof hash    %s\nmagnet        %s\n", r.ContentRoot, r.ParityRoot, r.ProofHash, r.Magnet)
}

func (a *app) status() *cobra.Command {
	var checkpoint, metrics bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the node stands",
		Long: `Shows the node of this home: its network, peers, custody, disk use and bans;
or that none runs. With --checkpoint only what it has verified of the ledger, as
newcomers paste it into ` + "`granary init`" + `. With --metrics what it counts, in Prometheus' text
format, which ` + "`granary node --http`" + ` also serves.

Exit status: 0 shown, running or not; 64 no home, or a flag that needs a running
node; 75 no checkpoint yet.`,
		Example: "  granary status --json",
		GroupID: "node",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := gateway.Dial(cmd.Context(), config.Socket(a.home))
			if err != nil {
				if checkpoint || metrics {
					return exit.Usagef("start it with `granary node`", "no node runs in %s", a.home)
				}
				return a.resting()
			}
			defer c.Close()
			switch {
			case checkpoint:
				return a.checkpoint(cmd.Context(), c)
			case metrics:
				text, err := c.Metrics(cmd.Context())
				if err != nil {
					return err
				}
				return a.ui.Result(map[string]string{"metrics": string(text)}, func(w io.Writer) { fmt.Fprintf(w, "%s", text) })
			}
			return a.running(cmd.Context(), c)
		},
	}
	cmd.Flags().BoolVar(&metrics, "metrics", false, "print what the node counts, for monitoring, and nothing else")
	cmd.Flags().BoolVar(&checkpoint, "checkpoint", false, "print HEIGHT:HASH of the head that this node has verified, and nothing else")
	return cmd
}

// checkpoint prints what a newcomer can trust who trusts this node.
func (a *app) checkpoint(ctx context.Context, c *gateway.Client) error {
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if s.Ledger.Checkpoint == "" {
		return fmt.Errorf("%w: nothing is verified yet", node.ErrOffline)
	}
	return a.ui.Result(map[string]string{"chain_id": s.Chain, "checkpoint": s.Ledger.Checkpoint}, func(w io.Writer) {
		fmt.Fprintln(w, s.Ledger.Checkpoint)
	})
}

func (a *app) resting() error {
	h, err := config.OpenHome(a.home)
	if err != nil {
		return err
	}
	return a.ui.Result(map[string]any{"running": false, "home": a.home, "chain_id": h.Network.ChainID()}, func(w io.Writer) {
		fmt.Fprintf(w, "home     %s\nnetwork  %s\nnode     not running; start it with `granary node`\n", a.home, h.Network.ChainID())
	})
}

func (a *app) running(ctx context.Context, c *gateway.Client) error {
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	return a.ui.Result(struct {
		Running bool   `json:"running"`
		Home    string `json:"home"`
		node.Status
	}{true, a.home, s}, func(w io.Writer) {
		fmt.Fprintf(w, "home       %s\nnetwork    %s\npeer       %s\n", a.home, s.Chain, s.Peer)
		for _, addr := range s.Addrs {
			fmt.Fprintf(w, "listens    %s\n", addr)
		}
		fmt.Fprintf(w, "torrents   %s, %d connections\npeers      %d\n", s.Torrent, s.Conns, len(s.Peers))
		fmt.Fprintf(w, "reachable  %s\n", s.Reach)
		if s.Custodian {
			fmt.Fprintf(w, "custody    %d of 64 groups", len(s.Groups))
			if n := len(s.StandIns); n > 0 {
				fmt.Fprintf(w, ", and %d that nobody else owes", n)
			}
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "blocks     %d\n", s.Blocks)
		printStorage(w, s.Storage)
		if s.Backlog > 0 {
			fmt.Fprintf(w, "owed       %d announced blocks are not kept yet\n", s.Backlog)
		}
		fmt.Fprintf(w, "seeding    %s\n", seedingWords(s.Seeding))
		if s.Lent.Cap > 0 || s.Lent.Bytes > 0 {
			fmt.Fprintf(w, "lent       %s of %s, %d pieces\n", humanize.IBytes(uint64(s.Lent.Bytes)), humanize.IBytes(uint64(s.Lent.Cap)), s.Lent.Pieces)
		}
		if p := s.Parity; p != nil {
			fmt.Fprintf(w, "parity     of %d blocks not kept, which saves %s; computed %d times\n", p.Blocks, humanize.IBytes(uint64(p.Bytes)), p.Computed)
		}
		fmt.Fprintf(w, "traffic    %s\n", trafficWords(s.Traffic))
		if s.Publisher != "" {
			fmt.Fprintf(w, "publisher  %s\n", s.Publisher)
		}
		fmt.Fprintf(w, "ledger     %s, height %d, %d entries, root %.16s…\n", s.Ledger.State, s.Ledger.Height, s.Ledger.Size, s.Ledger.Root)
		if s.Ledger.Behind > 0 {
			fmt.Fprintf(w, "           by %d heights\n", s.Ledger.Behind)
		}
		if s.Ledger.Err != "" {
			fmt.Fprintf(w, "           %s\n", s.Ledger.Err)
		}
		if s.Consensus != nil {
			printConsensus(w, *s.Consensus)
		}
		if words := sampledWords(s.Sampled); words != "" {
			fmt.Fprintf(w, "sampled    %s\n", words)
		}
		if words := deniedWords(s.Denied); words != "" {
			fmt.Fprintf(w, "denied     %s\n", words)
		}
		if s.Abstains != "" {
			fmt.Fprintf(w, "validator  abstains: %s\n", s.Abstains)
		}
		for _, ip := range s.Banned {
			fmt.Fprintf(w, "banned     %s\n", ip)
		}
	})
}

// deniedWords says what the home's deny list keeps out, "" if nothing.
func deniedWords(d deny.Status) string {
	words := ""
	if d.Blocks+d.Publishers+d.Namespaces+d.Announced > 0 {
		words = fmt.Sprintf("%d blocks, %d publishers, %d namespaces; %d announcements not taken up since the start", d.Blocks, d.Publishers, d.Namespaces, d.Announced)
	}
	if d.Err != "" {
		words = strings.TrimPrefix(words+"; the list of before is in force: "+d.Err, "; ")
	}
	return words
}

// sampledWords says what tests came to since the node started, "" if there was
// none. The group of which least was had stands beside all: an average hides it.
func sampledWords(s node.Sampled) string {
	var all []string
	for _, state := range []sampling.State{sampling.Available, sampling.Unavailable, sampling.Inconclusive} {
		if n := s.Verdicts[state]; n > 0 {
			all = append(all, fmt.Sprintf("%d %s", n, state))
		}
	}
	weakest := s.Weakest()
	if weakest < 0 {
		return strings.Join(all, ", ")
	}
	var asked, verified int64
	for _, g := range s.Groups {
		asked, verified = asked+g.Asked, verified+g.Verified
	}
	words := fmt.Sprintf("%s; %d of %d rows came", strings.Join(all, ", "), verified, asked)
	if verified == asked {
		return words
	}
	g := s.Groups[weakest]
	return fmt.Sprintf("%s, least in group %d: %d of %d", words, weakest, g.Verified, g.Asked)
}
