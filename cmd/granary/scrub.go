package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"granary/blobstore"
	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/folder"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
)

func (a *app) scrub() *cobra.Command {
	var rate config.Size
	var file reportFile
	var history bool
	opt := node.ScrubOptions{Patience: time.Minute}
	cmd := &cobra.Command{
		Use:   "scrub [REF…]",
		Short: "Check stored blocks piece by piece, and repair them",
		Long: `Reads what this home holds, past the system's cache, and checks it against the
IDs: the blocks named, or all of them, those checked longest ago first. A piece
found damaged is no longer served. With --repair it is rebuilt from any half of
the block's rows, if so many are good here; else a running node fetches it.

A running node scrubs by itself, see scrub_every in config.toml, and repairs
what it finds. Interrupted scrubs go on where they stopped.

--report writes what was found and done to a file, block by block, with what the
home holds of each and why; with --holders also who else says that they hold it.

What scrubs found and repaired, the node's own included, is kept in the home's
journal for years; --history prints it, and a report has it too.

Exit status: 0 all good, or repaired; 3 some blocks stay damaged; 5 none is known
to be, and some could not be looked at; 75 the disk is full or the index cannot be
written; 1 the home has no such block; 8 another process has the home; 64 REF or
FILE refused; 130 interrupted.`,
		Example: "  granary scrub --repair --rate 50MB --report scrub.json",
		GroupID: "blocks",
		RunE: func(cmd *cobra.Command, args []string) error {
			if history {
				return a.scrubHistory()
			}
			for _, arg := range args {
				ref, err := node.ParseRef(arg)
				if err == nil && ref.InLedger() {
					err = fmt.Errorf("%w: %q; scrub takes IDs and prefixes", node.ErrRef, arg)
				}
				if err != nil {
					return err
				}
				opt.Refs = append(opt.Refs, ref)
			}
			opt.Rate = int64(rate)
			if file.path != "" {
				if err := folder.Free(file.path, file.force); err != nil {
					return err
				}
			} else if file.holders {
				return exit.Usagef("name it with --report FILE", "--holders is for a report")
			}
			return a.scrubber(cmd.Context(), func(s scrubber, alone bool) error {
				return a.runScrub(cmd.Context(), s, opt, file, alone)
			})
		},
	}
	cmd.Flags().BoolVar(&history, "history", false, "print what scrubs found and repaired before, and exit")
	cmd.Flags().BoolVar(&opt.Repair, "repair", false, "rebuild or fetch what is damaged")
	cmd.Flags().Var(&rate, "rate", "read no more per second, e.g. 50MB; 0 for no limit")
	cmd.Flags().StringVar(&file.path, "report", "", "write a report, in JSON, to this `file`")
	cmd.Flags().BoolVar(&file.holders, "holders", false, "ask others what they hold of each block, for the report")
	cmd.Flags().BoolVar(&file.force, "force", false, "replace the report if it exists")
	addTimeout(cmd, &opt.Patience, "stop fetching a block after so long without a new row")
	return cmd
}

// reportFile says where a report goes and what it tells; the zero value: nowhere.
type reportFile struct {
	path           string
	force, holders bool
}

func (a *app) runScrub(ctx context.Context, s scrubber, opt node.ScrubOptions, file reportFile, alone bool) error {
	network, err := whoHolds(s, file.holders)
	if err != nil {
		return err
	}
	var printing error
	var results []node.ScrubResult
	began := time.Now()
	sum, err := s.Scrub(ctx, opt, a.ui.Progress, func(r node.ScrubResult) {
		results = append(results, r)
		printing = errors.Join(printing, a.ui.Step(r, "%s", scrubLine(r)))
	})
	if err = errors.Join(err, printing); err != nil {
		return err
	}
	if file.path != "" {
		home, err := config.OpenHome(a.home)
		if err != nil {
			return err
		}
		r := scrubReport{
			Type: "scrub-report", Schema: 1, Version: version, ChainID: home.Network.ChainID(), Home: a.home,
			Began: began.UTC(), Ended: time.Now().UTC(), Repair: opt.Repair, Sum: sum,
		}
		if r.History, err = node.ScrubHistory(a.home); err != nil {
			return err
		}
		err = r.file(ctx, file.path, results, s, network, a.ui.Progress)
		if errors.Is(err, errUnasked) {
			a.ui.Note("%s %v", file.path, errUnasked)
		}
		if err != nil {
			return err
		}
	}
	err = a.ui.Result(sum, func(w io.Writer) {
		took := time.Duration(sum.TookMS) * time.Millisecond
		fmt.Fprintf(w, "%d blocks, %s in %v: %d pieces damaged, %d repaired, %d left\n",
			sum.Blocks, humanize.IBytes(uint64(sum.Bytes)), took, sum.Bad, sum.Repaired, sum.Lost)
	})
	if err != nil {
		return err
	}
	if sum.Unchecked > 0 {
		a.ui.Note("%d blocks could not be looked at, for the reasons above: mend those, and scrub again", sum.Unchecked)
	}
	switch {
	case sum.Damaged == 0 && sum.Unchecked > 0:
		return exit.Code(exit.Inconclusive)
	case sum.Damaged == 0:
		return nil
	case !opt.Repair:
		a.ui.Note("%d blocks are damaged: `granary scrub --repair` rebuilds or fetches what it can", sum.Damaged)
	case alone:
		a.ui.Note("%d blocks lack rows to be rebuilt here: start `granary node`, which fetches them", sum.Damaged)
	default:
		a.ui.Note("%d blocks stay damaged: nobody who is reachable has the rows; the node tries again every hour", sum.Damaged)
	}
	return exit.Code(exit.Partial)
}

// scrubLine tells people how one block is.
func scrubLine(r node.ScrubResult) string {
	line := fmt.Sprintf("%.16s  %-9s  %d pieces, %s", r.ID, r.State, r.Pieces, humanize.IBytes(uint64(r.Bytes)))
	if r.Bad > 0 {
		line += fmt.Sprintf("; %d damaged, %d repaired, %d left", r.Bad, r.Repaired, r.Lost)
	}
	if len(r.Mended) > 0 {
		line += fmt.Sprintf("; files mended: %v", r.Mended)
	}
	if r.Err != "" {
		line += "; " + r.Err
	}
	return fmt.Sprintf("%s  %v  %s", line, time.Duration(r.TookMS)*time.Millisecond, r.Name)
}

// scrubber scrubs blocks, and says how they stand: a running node, or the home
// itself while none runs.
type scrubber interface {
	Block(ctx context.Context, ref string) (node.BlockStatus, error)
	Scrub(ctx context.Context, opt node.ScrubOptions, report node.Report, visit func(node.ScrubResult)) (node.ScrubSummary, error)
}

// scrubber calls f with what scrubs blocks; alone says that no node runs.
func (a *app) scrubber(ctx context.Context, f func(s scrubber, alone bool) error) error {
	if c, err := gateway.Dial(ctx, config.Socket(a.home)); err == nil {
		return errors.Join(f(c, false), c.Close())
	}
	if _, err := config.OpenHome(a.home); err != nil {
		return err
	}
	s := config.NewSettings()
	if err := s.Resolve(a.home); err != nil {
		return err
	}
	store, err := blobstore.Open(ctx, a.home, blobstore.Config{Quota: int64(s.Quota), Logger: a.logger()})
	if err != nil {
		return err
	}
	return errors.Join(f(offline{node.NewShelf(store, 0)}, true), store.Close())
}
