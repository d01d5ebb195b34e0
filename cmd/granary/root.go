package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/ui"
)

// app is what every verb shares: the printer and the global flags.
type app struct {
	ui      *ui.UI
	stdin   io.Reader
	stderr  io.Writer
	home    string
	verbose int

	passphraseFile string
	secret         []byte // the passphrase, once it is known
}

// run executes one command line and returns the process's exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{ui: ui.New(stdout, stderr), stdin: stdin, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		a.ui.Done()
		return exit.OK
	}
	// Flags behind one that is refused are not parsed any more.
	a.ui.JSON = a.ui.JSON || slices.Contains(args, "--json")
	return a.ui.Fail(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "granary",
		Short: "Keep published data available without trusting anyone in particular",
		Long: `Granary codes content into rows, shares them as an ordinary BitTorrent v2
torrent, and gets them back from any half of them. A block's ID is its magnet
link.`,
		Example:                    "  granary demo testdata/sepolia-00000-643a00f7.era1",
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
		// Cobra's own answer to an unknown verb has no status of its own.
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				hint := "`granary --help` lists the verbs"
				if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
					hint = "did you mean " + strings.Join(near, " or ") + "? " + hint
				}
				return exit.Usagef(hint, "unknown verb %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := root.PersistentFlags()
	f.StringVar(&a.home, "home", config.DefaultDir(), "folder of keys, settings and blocks (or GRANARY_HOME)")
	f.StringVar(&a.passphraseFile, "passphrase-file", os.Getenv("GRANARY_PASSPHRASE_FILE"), "file with the passphrase of encrypted keys (or GRANARY_PASSPHRASE_FILE)")
	f.BoolVar(&a.ui.JSON, "json", false, "print one JSON object per line on standard output")
	f.BoolVarP(&a.ui.Quiet, "quiet", "q", false, "print no progress and no notes")
	f.CountVarP(&a.verbose, "verbose", "v", "log what the node does to standard error; twice for every detail")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exit.Usagef("`"+cmd.CommandPath()+" --help` lists its flags", "%w", err)
	})
	root.AddGroup(
		&cobra.Group{ID: "start", Title: "Start here:"},
		&cobra.Group{ID: "blocks", Title: "Blocks:"},
		&cobra.Group{ID: "ledger", Title: "The ledger:"},
		&cobra.Group{ID: "node", Title: "The node:"},
		&cobra.Group{ID: "offline", Title: "Without a network:"},
	)
	root.AddCommand(
		a.demo(), a.devnet(),
		a.publish(), a.get(), a.seed(), a.verify(), a.watch(), a.list(), a.show(), a.torrent(), a.magnet(), a.scrub(),
		a.name(), a.credit(), a.validators(), a.keys(),
		a.init(), a.node(), a.status(), a.peers(),
		a.inspect(), a.encode(), a.decode(), a.version(),
	)
	root.SetHelpCommand(help())
	return root
}

// help is cobra's, which answers anything that it does not know with the root's help.
func help() *cobra.Command {
	return &cobra.Command{
		Use:     "help [VERB]",
		Short:   "Print the help of a verb",
		Example: "  granary help get",
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return exit.Usagef("`granary --help` lists the verbs", "no help for %q", strings.Join(args, " "))
			}
			return of.Help()
		},
	}
}

// logger is where the node writes: nowhere unless -v asks for it.
func (a *app) logger() *slog.Logger {
	level := slog.LevelError // damage on the disk, above all: it is found when nobody asks
	switch {
	case a.verbose == 0 && a.ui.Quiet:
		return slog.New(slog.DiscardHandler)
	case a.verbose == 1:
		level = slog.LevelInfo
	case a.verbose > 1:
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
}

// quoted is a path as a shell takes it.
func quoted(path string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("/._-+:@%,=", r) || r > 0x7F && unicode.IsLetter(r)
	}
	if path != "" && strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// exactly refuses another number of arguments with the usage line as hint.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return exit.Usagef("usage: "+cmd.UseLine(), "%s takes %d argument(s), not %d", cmd.CommandPath(), n, len(args))
		}
		return nil
	}
}
