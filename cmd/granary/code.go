package main

import (
	"fmt"
	"io"
	"math"
	"runtime/debug"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/folder"
	"granary/cmd/granary/internal/node"
)

func (a *app) inspect() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show the block that a file would be, or that a description holds",
		Long: `Prints geometry, roots and ID that publishing FILE would give; or those that a
.torrent, a record.json or a folder made by encode holds. Nothing is written.

Exit status: 0 shown; 6 altered or truncated; 64 empty, oversized or a
refused name.`,
		Example: "  granary inspect testdata/sepolia-00000-643a00f7.era1",
		GroupID: "offline",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := folder.Inspect(cmd.Context(), args[0], name, a.meter("encode"))
			if err != nil {
				return err
			}
			return a.ui.Result(r, func(w io.Writer) { printRecord(w, r) })
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the block's name (default: the file's)")
	return cmd
}

func (a *app) encode() *cobra.Command {
	var name, dir string
	var force bool
	cmd := &cobra.Command{
		Use:   "encode FILE -o DIR",
		Short: "Code a file into a folder of plain files",
		Long: `Writes content, parity, proof, NAME.torrent and record.json into DIR. Any half
of the rows in content and parity restores the file: see decode.

Exit status: 0 written; 64 empty, oversized, a refused name, or DIR is not
empty; 75 the disk is full; 130 interrupted.`,
		Example: "  granary encode testdata/sepolia-00000-643a00f7.era1 -o block",
		GroupID: "offline",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" {
				return exit.Usagef("usage: "+cmd.UseLine(), "encode needs a folder: -o DIR")
			}
			name, err := folder.BlockName(args[0], name)
			if err != nil {
				return err
			}
			boundMemory()
			r, err := folder.Encode(cmd.Context(), args[0], name, dir, force, a.meter("encode"))
			if err != nil {
				return err
			}
			return a.ui.Result(r, func(w io.Writer) { printRecord(w, r) })
		},
	}
	cmd.Flags().StringVarP(&dir, "output", "o", "", "folder to write")
	cmd.Flags().StringVar(&name, "name", "", "the block's name (default: the file's)")
	cmd.Flags().BoolVar(&force, "force", false, "write into a folder that is not empty")
	return cmd
}

func (a *app) decode() *cobra.Command {
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "decode DIR -o FILE",
		Short: "Restore a file from what is left of its folder",
		Long: `Restores content from a folder made by encode: its .torrent or record.json and
any k good rows of content and parity. Damaged rows are found and left out.

Exit status: 0 written; 4 fewer than k good rows; 6 the descriptions were
altered or contradict each other; 64 FILE exists; 75 the disk is full.`,
		Example: "  granary decode block -o restored.era1",
		GroupID: "offline",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return exit.Usagef("usage: "+cmd.UseLine(), "decode needs a file: -o FILE")
			}
			boundMemory()
			d, err := folder.Decode(cmd.Context(), args[0], out, force, a.meter("decode"))
			if err != nil {
				return err
			}
			for _, text := range d.Damage {
				a.ui.Note("done without %s", text)
			}
			return a.ui.Result(struct {
				folder.Decoded
				Output string `json:"output"`
			}{d, out}, func(w io.Writer) {
				fmt.Fprintln(w, out)
				a.ui.Note("%s from %d good rows of %d, %d restored", humanize.IBytes(uint64(d.Length)), d.GoodRows, d.Rows, d.Restored)
			})
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write")
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE if it exists")
	return cmd
}

// boundMemory keeps a process that codes one block and exits within 256 MiB in
// all: the limit is for what Go allocates, and the program itself takes some 60
// MiB more (docs/performance.md). Without it, decoding and the check after it
// each have their buffers. GOMEMLIMIT in the environment prevails.
func boundMemory() {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(176 << 20)
	}
}

// meter reports bytes of one stage.
func (a *app) meter(stage string) func(done, total int64) {
	return func(done, total int64) {
		a.ui.Progress(node.Progress{Stage: stage, Done: done, Total: total, Unit: "bytes"})
	}
}
