package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
)

// version is set by the linker: -ldflags "-X main.version=v0.1.0".
var version = "development"

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Prints the version, the block format, and the Go release it was built with.",
		Example: "  granary version",
		GroupID: "node",
		Args:    exactly(0),
		RunE: func(*cobra.Command, []string) error {
			return a.ui.Result(map[string]any{"version": version, "format": 1, "go": runtime.Version()}, func(w io.Writer) {
				fmt.Fprintf(w, "granary %s, block format 1, %s\n", version, runtime.Version())
			})
		},
	}
}
