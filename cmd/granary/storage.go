package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"

	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
)

// giveUp unpins blocks, which deletes what is owed to nobody, or says what that
// would delete. One that fails does not stop those after it.
func (a *app) giveUp(ctx context.Context, c *gateway.Client, args []string, refs []node.Ref, dryRun bool) error {
	return a.forEach(ctx, args, "given up", func(i int) error {
		b, err := c.Block(ctx, refs[i].String())
		if err == nil && !dryRun {
			err = c.Unpin(ctx, b.ID)
		}
		if err != nil {
			return err
		}
		verb := map[bool]string{true: "would free", false: "freed"}[dryRun]
		return a.ui.Result(map[string]any{"id": b.ID, "freed": b.NotOwed, "left": b.Bytes - b.NotOwed, "dry_run": dryRun}, func(w io.Writer) {
			fmt.Fprintf(w, "%s  %s %s, %s stays for the network  %s\n", b.ID, verb, humanize.IBytes(uint64(b.NotOwed)), humanize.IBytes(uint64(b.Bytes-b.NotOwed)), b.Name)
		})
	})
}

// count is a number of things, for people.
func count(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// printStorage tells people how full the home is, why, and in what state.
func printStorage(w io.Writer, s node.Storage) {
	size := func(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }
	if s.Free == nil {
		fmt.Fprintf(w, "disk       %s, no quota\n", size(s.Bytes))
	} else {
		fmt.Fprintf(w, "disk       %s of %s, %s free\n", size(s.Bytes), size(s.Quota), size(*s.Free))
	}
	for _, u := range s.Uses {
		fmt.Fprintf(w, "           %-9s  %s in %d blocks\n", u.Why, size(u.Bytes), u.Blocks)
	}
	if s.Free != nil {
		fmt.Fprintf(w, "when full  %s\n", s.Policy)
	}
	if s.Checked != nil && !s.Checked.IsZero() {
		fmt.Fprintf(w, "checked    all since %s\n", s.Checked.UTC().Format(time.RFC3339))
	}
	if h := s.Scrubs; h != nil {
		fmt.Fprintf(w, "scrubs     %s of blocks since %s, %s read; %s repaired, %s mended\n", count(h.Blocks, "check"),
			h.Since.UTC().Format(time.DateOnly), size(h.Bytes), count(h.Repaired, "piece"), count(h.Mended, "file"))
	}
	if s.Damaged > 0 {
		fmt.Fprintf(w, "damaged    %d blocks, %d pieces: `granary scrub --repair`\n", s.Damaged, s.Lost)
	}
	if s.Failed {
		fmt.Fprintf(w, "index      cannot be written, so nothing is stored: look at the disk, then start the node again\n")
	}
	if s.Rebuilt != nil {
		fmt.Fprintf(w, "index      was lost and made anew on %s: why older blocks are kept is not known, so all are\n", s.Rebuilt.UTC().Format(time.DateOnly))
	}
}
