package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/folder"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
	"granary/ledger"
)

func (a *app) publish() *cobra.Command {
	var name, wait, network, namespace string
	var keep int
	patience := time.Minute
	s := config.NewSettings()
	cmd := &cobra.Command{
		Use:   "publish FILE",
		Short: "Hand a file to the network",
		Long: `Codes FILE (- for standard input), stores and seeds it, announces it in the
ledger, and returns when validators with more than two thirds of the voting
power have fetched it, checked it whole, and certified it.

The home's publisher key pays length times days in credits, or the fee if that is
more: see ` + "`granary credit`" + `. Without a running node the block stays in this home and
is seeded while it is waited for; run ` + "`granary node`" + ` to go on seeding.

Exit status: 0 certified; 1 refused by the ledger: too few credits, another's
name (the block stays stored, ` + "`granary seed REF --stop`" + ` gives it up); 7 quota; 64
empty, oversized or a refused name; 75 not certified in time (the block stays
stored), or FILE changed while it was read; 130 interrupted.`,
		Example: "  granary publish testdata/sepolia-00000-643a00f7.era1",
		GroupID: "blocks",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch node.Wait(wait) {
			case node.WaitAnnounced, node.WaitCertified, node.WaitCustody:
			default:
				return exit.Usagef("--wait announced, certified or custody", "--wait %q is not known", wait)
			}
			if keep < 1 || keep > ledger.MaxKeep {
				return exit.Usagef("", "--keep %d is not 1 to %d days", keep, ledger.MaxKeep)
			}
			if namespace != "" {
				if err := ledger.CheckName(namespace); err != nil {
					return fmt.Errorf("--namespace: %w", err)
				}
			}
			in, name, err := a.input(cmd.Context(), args[0], name)
			if err != nil {
				return err
			}
			defer in.Close()
			return a.reach(cmd.Context(), s, network, func(c *gateway.Client, _ bool) error {
				opt := node.PublishOptions{Wait: node.Wait(wait), Keep: keep, Namespace: namespace, Patience: patience}
				file, ok := in.(*folder.Content)
				if ok {
					opt.Size = file.Length()
				}
				r, err := c.Publish(cmd.Context(), name, in, opt, a.ui.Progress)
				if err != nil && ok {
					err = cmp.Or(file.Err(), err)
				}
				if err != nil {
					return err
				}
				return a.ui.Result(r, func(w io.Writer) {
					fmt.Fprintf(w, "%s\n%s\n", r.ID, r.Magnet)
					a.ui.Note("%s, %s, #%d in the log, %s by %d of %d voting power, for %d credits", r.Name, humanize.IBytes(uint64(r.Length)), r.Index, r.Status, r.Power, r.Total, r.Paid)
					if r.Custodians > 0 {
						a.ui.Note("%d custodians hold their shares", r.Custodians)
					}
				})
			})
		},
	}
	s.AddHidden(cmd.Flags())
	cmd.Flags().StringVar(&name, "name", "", "the block's name (default: the file's, or \"block\")")
	cmd.Flags().StringVar(&namespace, "namespace", "", "announce it in a name that this home owns (default: its publisher key)")
	cmd.Flags().StringVar(&wait, "wait", "certified", "return when the block is announced, certified, or kept by custody as well")
	cmd.Flags().IntVar(&keep, "keep", node.DefaultKeep, "days for which validators and custodians owe the block")
	addTimeout(cmd, &patience, "give up after so long without news")
	cmd.Flags().StringVar(&network, "network", "", "the network's `file`, where the home is not prepared")
	return cmd
}

// input opens FILE or standard input and says under which name it goes.
func (a *app) input(ctx context.Context, path, name string) (io.ReadCloser, string, error) {
	if path == "-" {
		if name == "" {
			name = "block"
		}
		name, err := folder.BlockName("", name)
		if err != nil {
			return nil, "", err
		}
		return interruptible(ctx, a.stdin), name, nil
	}
	name, err := folder.BlockName(path, name)
	if err != nil {
		return nil, "", err
	}
	f, err := folder.Open(path)
	return f, name, err
}

// interruptible is in until ctx ends: what is typed, or comes from a pipe, may be long
// in coming. Whoever waits for it then waits to the end of the process.
func interruptible(ctx context.Context, in io.Reader) io.ReadCloser {
	r, w := io.Pipe()
	stop := context.AfterFunc(ctx, func() { w.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer stop()
		_, err := io.Copy(w, in)
		w.CloseWithError(err)
	}()
	return r
}
