package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/durable"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/folder"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
)

func (a *app) get() *cobra.Command {
	var out, network string
	var force, keep bool
	var peers []string
	patience := time.Minute
	s := config.NewSettings()
	cmd := &cobra.Command{
		Use:   "get REF",
		Short: "Fetch a block and write its content",
		Long: `Finds the holders of a block, downloads any k of its 2k rows, decodes them,
checks the whole against the ID, and writes the content. REF is an ID, 8 or
more of its first digits (for blocks in this home), a magnet link, @name or
#index in the ledger, or a .torrent file. What was fetched before an interruption
is used again.

Exit status: 0 written; 4 fewer than k rows can be had; 6 the content does
not match the ID; 7 quota; 64 REF or output refused; 75 no holder found or no
progress; 130 interrupted.`,
		Example: "  granary get 4f1c9a02… -o content.bin --network network.json",
		GroupID: "blocks",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := node.ParseRef(args[0])
			if err != nil {
				return err
			}
			opt := node.FetchOptions{Patience: patience}
			for _, p := range peers {
				addr, err := netip.ParseAddrPort(p)
				if err != nil {
					return exit.Usagef("a peer is an IP address and a port: 192.0.2.7:4748", "--peer: %w", err)
				}
				opt.Peers = append(opt.Peers, addr)
			}
			if err := a.output(out, force); err != nil {
				return err
			}
			return a.reach(cmd.Context(), s, network, func(c *gateway.Client, guest bool) error {
				return a.fetch(cmd.Context(), c, ref, opt, target{out, force, guest && !keep})
			})
		},
	}
	s.AddHidden(cmd.Flags())
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write (default: the block's name; - for standard output)")
	cmd.Flags().BoolVar(&force, "force", false, "replace the output if it exists")
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the rows of a one-shot download")
	cmd.Flags().StringVar(&network, "network", "", "the network's `file`, where the home is not prepared")
	cmd.Flags().StringArrayVar(&peers, "peer", nil, "BitTorrent peer to ask besides those found, IP:PORT (repeatable)")
	addTimeout(cmd, &patience, "give up after so long without a new row")
	return cmd
}

// output refuses, before there is anything to write, where it cannot be written: "-" is
// standard output, and "" a name that is not known yet.
func (a *app) output(out string, force bool) error {
	switch {
	case out == "-" && a.ui.JSON:
		return exit.Usagef("choose one of them", "-o - and --json both want standard output")
	case out == "" || out == "-":
		return nil
	}
	return folder.Free(out, force)
}

// target is where the content goes.
type target struct {
	out   string // "": the block's name in this folder; "-": standard output
	force bool
	once  bool // delete the rows once the content is written
}

func (a *app) fetch(ctx context.Context, c *gateway.Client, ref node.Ref, opt node.FetchOptions, t target) error {
	r, err := c.Fetch(ctx, ref, opt, a.ui.Progress)
	if err != nil {
		return err
	}
	body, err := c.Content(ctx, r.ID)
	if err != nil {
		return err
	}
	defer body.Close()
	switch t.out {
	case "-":
		a.ui.Done()
		if _, err := io.Copy(a.ui.Out(), body); err != nil {
			return fmt.Errorf("write content: %w", err)
		}
		return a.clean(ctx, c, r.ID, t)
	case "":
		t.out = r.Name
		if err := folder.Free(t.out, t.force); err != nil {
			return err
		}
	}
	err = durable.Replace(t.out, 0o644, func(f *os.File) error {
		n, err := io.Copy(f, body)
		if err == nil && n != r.Length {
			err = fmt.Errorf("%d of %d bytes: %w", n, r.Length, io.ErrUnexpectedEOF)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := a.clean(ctx, c, r.ID, t); err != nil {
		return err
	}
	return a.ui.Result(struct {
		node.FetchResult
		Output string `json:"output"`
	}{r, t.out}, func(w io.Writer) {
		fmt.Fprintln(w, t.out)
		took := time.Duration(r.TookMS) * time.Millisecond
		a.ui.Note("%s of %s from %d peers in %v, checked against %s",
			humanize.IBytes(uint64(r.Length)), r.Name, r.Peers, took, r.ID[:8])
		for _, ip := range r.Banned {
			a.ui.Note("%s sent wrong bytes and was banned", ip)
		}
	})
}

func (a *app) clean(ctx context.Context, c *gateway.Client, id string, t target) error {
	if !t.once {
		return nil
	}
	return errors.Join(c.Delete(ctx, id))
}
